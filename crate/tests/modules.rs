//! Imports point one way: down the list of modules in lib.rs.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The names that a text has after `crate::`, in `use` and elsewhere.
fn imported(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}

#[test]
fn imports_point_down_the_list_of_modules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let order: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("//! | ")).filter_map(|row| row.split('`').nth(1)).collect();
    assert!(order.len() > 10, "the list of modules in lib.rs");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files.iter().filter(|file| !file.ends_with("lib.rs")) {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let place = order.iter().position(|name| *name == module);
        let place = place.unwrap_or_else(|| panic!("{module} is not in the list of modules in lib.rs"));
        let text = fs::read_to_string(file).unwrap();
        for import in imported(&text) {
            let Some(target) = order.iter().position(|name| *name == import) else { continue };
            assert!(target >= place, "{} imports {import}, which stands above it in lib.rs", inside.display());
        }
    }
}
