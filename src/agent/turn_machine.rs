//! x
/// Who has the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnState {
    /// x
    Listening,
}
