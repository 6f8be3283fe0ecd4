//! Imports point one way: down the list of modules in lib.rs, and within a module in no circle.

use std::collections::BTreeMap;
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

/// A module's path from the root of the crate.
type Module = Vec<String>;

/// The paths of a `use`, with its braces spread out.
fn spread(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else { return vec![tree.trim().to_owned()] };
    let (prefix, inside) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut depth, mut first, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[first..at]);
                first = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[first..]);
    parts.iter().flat_map(|part| spread(part.trim())).map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// What a module's `use` statements name, from the root of the crate.
fn uses(text: &str, module: &Module) -> Vec<Module> {
    let statements = text.split(';').filter_map(|text| {
        let at = ["\nuse ", "\npub use ", "\npub(crate) use ", "\npub(super) use "];
        let begin = at.iter().filter_map(|keyword| text.rfind(keyword).map(|at| at + keyword.len())).max()?;
        Some(&text[begin..])
    });
    let absolute = |path: String| {
        let mut names = path.split("::").map(str::to_owned).peekable();
        let mut found = module.clone();
        if names.next_if(|name| name == "crate").is_some() {
            found.clear();
        }
        while names.next_if(|name| name == "super").is_some() {
            found.pop();
        }
        found.into_iter().chain(names).collect()
    };
    statements.flat_map(spread).map(absolute).collect()
}

/// A circle that goes through a module, if there is one.
fn circle(
    module: &Module,
    imports: &BTreeMap<Module, Vec<Module>>,
    way: &mut Vec<Module>,
    done: &mut Vec<Module>,
) -> Option<Vec<Module>> {
    if let Some(first) = way.iter().position(|other| other == module) {
        return Some(way[first..].to_vec());
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.clone());
    let found = imports[module].iter().find_map(|import| circle(import, imports, way, done));
    way.pop();
    done.push(module.clone());
    found
}

#[test]
fn files_import_each_other_in_no_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let texts: BTreeMap<Module, String> = files
        .iter()
        .map(|file| {
            let inside = file.strip_prefix(&src).unwrap().with_extension("");
            let module = inside.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            (module, fs::read_to_string(file).unwrap())
        })
        .collect();
    // The file that a path leads to. One of a module that stands above is its face, which every file in it may use.
    let target = |module: &Module, path: &Module| {
        let known = (1..=path.len()).rev().map(|len| path[..len].to_vec()).find(|path| texts.contains_key(path))?;
        (!module.starts_with(&known)).then_some(known)
    };
    let imports: BTreeMap<Module, Vec<Module>> = texts
        .iter()
        .map(|(module, text)| {
            (module.clone(), uses(text, module).iter().filter_map(|path| target(module, path)).collect())
        })
        .collect();
    assert!(imports.values().map(Vec::len).sum::<usize>() > 300, "imports are found");
    let mut done = Vec::new();
    for module in imports.keys() {
        let found = circle(module, &imports, &mut Vec::new(), &mut done);
        assert!(found.is_none(), "a circle of imports: {found:?}");
    }
}
