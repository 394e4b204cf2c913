//! `hookswitch.toml`: what can be written in it, and what is used once it is resolved.
