//! `hookswitch call`: the test phone.

mod arguments;
mod dialogue;

pub use arguments::Arguments;

/// Runs.
///
/// # Errors
/// None.
pub async fn run(_arguments: &Arguments) -> anyhow::Result<()> {
    Ok(())
}
