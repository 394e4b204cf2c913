//! The voice agent in a simulated world: every timeline of `tests/turns` must come out as it is written, and no sequence
//! of events, however senseless, may break it.
//!
//! After a change that is meant to change timelines, `UPDATE_TURNS=1 cargo test --test agent` writes them anew: read the
//! difference.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod chaos;
mod hang_up;
mod world;

use std::fs;
use std::path::Path;

#[test]
fn timelines_come_out_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/turns");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the timelines are there")
        .map(|it| it.expect("the timelines are readable").path())
        .filter(|it| it.extension().is_some_and(|it| it == "turns"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let update = std::env::var_os("UPDATE_TURNS").is_some();
    let mut differ = vec![];
    for file in files {
        let written = fs::read_to_string(&file).expect("timelines are UTF-8");
        let result = world::run(&written);
        if result == written {
            continue;
        }
        if update {
            fs::write(&file, &result).expect("timelines can be written");
        } else {
            differ.push(format!("{} came out as\n{result}", file.display()));
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}
