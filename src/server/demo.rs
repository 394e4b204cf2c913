//! `hookswitch demo`.

use std::path::Path;

/// Runs.
///
/// # Errors
/// None.
pub async fn run(_output: &Path) -> anyhow::Result<()> {
    Ok(())
}
