//! The call journal and the records and transcripts derived from it.
