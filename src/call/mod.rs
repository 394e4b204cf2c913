//! Calls: what happens between a leg, its media and its agent.
