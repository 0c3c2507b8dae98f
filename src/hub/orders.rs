//! What plugins order and ask for.

use super::Hub;
use super::plugin::{Order, OrderError, Query};
use super::types::Outlet;

impl Hub {
    /// Carries an order out, or says why not.
    pub(super) fn obey(
        &mut self,
        order: Order<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        self.send_due(out);
        Err(OrderError::Refused(format!("Not carried out yet: {order:?}").into()))
    }

    /// Appends the answer to a question, or says why not.
    pub(super) fn answer_query(
        &self,
        query: Query<'_>,
        bytes_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), OrderError> {
        let _ = (bytes_max, buffer);
        Err(OrderError::Refused(format!("Not answered yet: {query:?}").into()))
    }
}
