//! The only place that spells XML out.
