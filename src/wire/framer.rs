//! Cuts a byte stream into frames at NUL bytes.
