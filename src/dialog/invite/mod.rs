//! INVITE, from either side: RFC 3261 §13 and §14.

pub(crate) mod early;
pub(crate) mod reinvite;
pub(crate) mod reliable;
pub(crate) mod uac;
pub(crate) mod uas;
pub(crate) mod unacknowledged;
