//! Dialogs and the INVITE usage (RFC 3261 §12-15, 3264, 6337).
