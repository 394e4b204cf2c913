//! Who may call whom: a pure function from an incoming call to an agent or a refusal.
