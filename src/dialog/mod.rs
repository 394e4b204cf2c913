//! Dialogs.
pub mod offer_answer;
