//! Finds every import in a source tree that breaks the order of its layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Token, tokens};

/// Rows of units, the lowest layer first. A unit is a folder or a file, as a path below `src/` without `.rs`.
pub(crate) type Layers<'a> = &'a [&'a [&'a str]];

/// Names that can start a path into the crate, each with the module that it stands for.
type Roots<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// One path that leaves its file.
struct Import<'a> {
    line: usize,
    /// As written, with the groups of `use` resolved.
    path: Vec<&'a str>,
    /// The name that a `use` gives it in the file.
    binding: Option<&'a str>,
    is_public_use: bool,
}

/// What a path leads to.
enum Target<'a> {
    File(&'a str),
    /// A `mod.rs` or `lib.rs`, and the name in it; no name if the path is the module itself.
    ModFile(&'a str, Option<&'a str>),
}

/// The files of a tree, by their path without `.rs`.
struct Tree<'a>(BTreeMap<&'a str, Vec<Token<'a>>>);

/// Lists every violation in a tree of (path below `src/`, text), one line each.
pub(crate) fn violations(layers: Layers<'_>, texts: &[(String, String)]) -> Vec<String> {
    let tree = Tree::new(texts);
    let mut found = entries_without_files(layers, &tree);
    let mut missing = BTreeSet::new();
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for key in tree.0.keys().copied().filter(|key| *key != "lib") {
        // A new folder is reported once, not for each of its files.
        let Some((place, unit)) = place_of(layers, key) else {
            let entry = missing_entry(layers, key);
            if missing.insert(entry) {
                found.push(format!(
                    "src/{key}.rs: not covered by LAYERS (tests/repository/layers/mod.rs): add \"{entry}\" to a row, \
                     above everything it imports"
                ));
            }
            continue;
        };
        for import in tree.imports(key) {
            // Does the path name the defining file? If not, its layer does not matter.
            let target = match tree.check(key, &import) {
                Ok(Some(target)) => target,
                Ok(None) => continue,
                Err(what) => {
                    found.push(violation(key, &import, &what));
                    continue;
                }
            };
            // Is that file higher up?
            match place_of(layers, target) {
                Some((other, other_unit)) if other > place => {
                    let what = format!("is an upward import: {other_unit} stands above {unit} in LAYERS");
                    found.push(violation(key, &import, &what));
                }
                // Only downward imports enter the graph, so a circle is always one inside a unit.
                _ => _ = graph.entry(key).or_default().insert(target),
            }
        }
    }
    found.extend(circles(&graph));
    found
}

fn violation(key: &str, import: &Import<'_>, what: &str) -> String {
    format!("src/{key}.rs:{}: `{}` {what}", import.line, import.path.join("::"))
}

fn entries_without_files(layers: Layers<'_>, tree: &Tree<'_>) -> Vec<String> {
    let units = layers.iter().copied().flatten();
    units
        .filter(|unit| !tree.0.keys().any(|key| covers(unit, key)))
        .map(|unit| {
            format!("src/{unit}: listed in LAYERS (tests/repository/layers/mod.rs), but not there: remove its entry")
        })
        .collect()
}

/// Returns `true` if the file is the unit or in its folder.
fn covers(unit: &str, key: &str) -> bool {
    key.strip_prefix(unit).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the row, the position in it, and the name of the unit that covers a file; of several the innermost. The
/// `mod.rs` of a folder that is no unit, but holds some, has the place of the highest of them; `lib.rs` is above all.
fn place_of<'a>(layers: Layers<'a>, key: &'a str) -> Option<((usize, usize), &'a str)> {
    if key == "lib" {
        return Some(((usize::MAX, 0), key));
    }
    let units = || {
        layers.iter().enumerate().flat_map(|(row, units)| {
            units.iter().enumerate().map(move |(position, unit)| ((row, position), *unit))
        })
    };
    let covering = units().filter(|(_, unit)| covers(unit, key)).max_by_key(|(_, unit)| unit.len());
    covering.or_else(|| {
        let folder = key.strip_suffix("/mod")?;
        let (highest, _) = units().filter(|(_, unit)| covers(folder, unit)).max()?;
        Some((highest, folder))
    })
}

/// Returns the entry that an uncovered file needs: its outermost folder that holds no unit yet, or itself.
fn missing_entry<'a>(layers: Layers<'_>, key: &'a str) -> &'a str {
    let module = key.strip_suffix("/mod").unwrap_or(key);
    let holds_units = |folder: &str| layers.iter().copied().flatten().any(|unit| covers(folder, unit));
    let folders = module.match_indices('/').map(|(at, _)| &module[..at]);
    folders.chain([module]).find(|folder| !holds_units(folder)).unwrap_or(module)
}

impl<'a> Tree<'a> {
    fn new(texts: &'a [(String, String)]) -> Self {
        let file = |(path, text): &'a (String, String)| {
            Some((path.strip_suffix(".rs")?, without_test_items(tokens(text))))
        };
        Tree(texts.iter().filter_map(file).collect())
    }

    /// Returns the file that an import leads to, if it is another one, or what is wrong with the way there.
    fn check(&self, key: &str, import: &Import<'a>) -> Result<Option<&'a str>, String> {
        if import.path[1..].contains(&"super") {
            return Err("climbs by a second step: start from crate".into());
        }
        let target = match self.resolve(&import.module(&self.roots(key))) {
            Target::File(file) => file,
            Target::ModFile(file, _) if file == key => return Ok(None),
            Target::ModFile(file, Some(name)) if !self.items(file).contains(name) => {
                return Err(format!(
                    "goes through src/{file}.rs, which does not define `{name}`: name the file that does"
                ));
            }
            Target::ModFile(file, None) if self.items(file).is_empty() => {
                return Err(format!("leads to src/{file}.rs, which defines nothing itself: name a file"));
            }
            Target::ModFile(file, _) => file,
        };
        // A `mod.rs` may list what its folder offers without depending on it, unless it uses a name of that list.
        let is_own_child = key.strip_suffix("/mod").is_some_and(|folder| covers(folder, target));
        let is_reexport = import.is_public_use && is_own_child && !self.uses_binding(key, import, target);
        Ok(Some(target).filter(|target| *target != key && !is_reexport))
    }

    /// Returns `true` if a file uses a name that this `use` of it brings in.
    fn uses_binding(&self, key: &str, import: &Import<'a>, target: &str) -> bool {
        let used = names_used(&self.0[key]);
        match import.binding {
            Some("*") => self.items(target).iter().any(|name| used.contains(name)),
            Some(name) => used.contains(name),
            None => false,
        }
    }

    /// Follows a path from the root of the crate to the file it leads to.
    fn resolve(&self, module: &[&'a str]) -> Target<'a> {
        let key_of = |path: String| self.0.get_key_value(path.as_str()).map(|(key, _)| *key);
        let mut mod_file = "lib";
        for (at, name) in module.iter().enumerate() {
            let path = module[..=at].join("/");
            if let Some(folder) = key_of(format!("{path}/mod")) {
                mod_file = folder;
            } else {
                return key_of(path).map_or(Target::ModFile(mod_file, Some(name)), Target::File);
            }
        }
        Target::ModFile(mod_file, None)
    }

    /// Returns the names that a file defines itself, or re-exports from outside the crate.
    fn items(&self, key: &str) -> BTreeSet<&'a str> {
        let tokens = self.0.get(key).map_or(&[][..], Vec::as_slice);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
        let mut found = BTreeSet::new();
        for at in 0..tokens.len() {
            match text(at) {
                "mod" if text(at + 2) == ";" => {}
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "mod" => {
                    found.insert(text(at + 1));
                }
                "macro_rules" => _ = found.insert(text(at + 2)),
                _ => {}
            }
        }
        let roots = self.roots(key);
        let is_inside = |path: &[&str]| roots.contains_key(path[0]) || path[0] == "self";
        let uses = paths(tokens, |_, is_use| is_use);
        let outside = uses.iter().filter(|import| import.is_public_use && !is_inside(&import.path));
        found.extend(outside.filter_map(|import| import.binding).filter(|name| *name != "*"));
        found
    }

    /// Returns the names that start a path, out of a file or back into it. A `mod.rs` reaches its children by `self` and
    /// by their names; an imported folder is reached by the name it was imported by.
    fn roots(&self, key: &str) -> Roots<'a> {
        let Some((key, tokens)) = self.0.get_key_value(key) else { return Roots::new() };
        let own: Vec<&str> = key.strip_suffix("/mod").unwrap_or(key).split('/').collect();
        let parent = own[..own.len() - 1].to_vec();
        let mut roots = Roots::from([("crate", Vec::new()), ("super", parent), ("self", own.clone())]);
        if key.ends_with("/mod") {
            for child in tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";") {
                roots.insert(child[1].text, own.iter().copied().chain([child[1].text]).collect());
            }
        }
        for import in paths(tokens, |root, is_use| is_use && roots.contains_key(root)) {
            let module = import.module(&roots);
            if let (Target::ModFile(_, None), Some(name)) = (self.resolve(&module), import.binding) {
                roots.insert(name, module);
            }
        }
        roots
    }

    fn imports(&self, key: &str) -> Vec<Import<'a>> {
        let roots = self.roots(key);
        paths(&self.0[key], |root, _| roots.contains_key(root))
    }
}

impl<'a> Import<'a> {
    /// Returns the path from the root of the crate.
    fn module(&self, roots: &Roots<'a>) -> Vec<&'a str> {
        let rest = self.path[1..].iter().filter(|name| **name != "self");
        roots.get(self.path[0]).into_iter().flatten().chain(rest).copied().collect()
    }
}

/// Drops every item under `#[cfg(test)]`.
fn without_test_items(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let (mut kept, mut at) = (Vec::new(), 0);
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    while at < tokens.len() {
        if !tokens[at..].iter().map(|token| token.text).take(attribute.len()).eq(attribute) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        // The item ends at the first closing brace, semicolon or comma outside all brackets.
        let mut depth = 0;
        at += attribute.len();
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(token.text, "}" | ";" | ",") {
                break;
            }
        }
    }
    kept
}

/// Returns the names that stand outside `use` declarations where a path can begin, or after `self::`.
fn names_used<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let before = |at: usize, by: usize| at.checked_sub(by).map_or("", text);
    let (mut found, mut in_use) = (BTreeSet::new(), false);
    for at in 0..tokens.len() {
        match text(at) {
            "use" if text(at + 1) != "<" => in_use = true,
            ";" => in_use = false,
            _ => {}
        }
        let begins_path = match before(at, 1) {
            "::" => before(at, 2) == "self" && before(at, 3) != "::",
            // A field or a method, or the definition of another item of that name.
            "." | "fn" | "mod" | "struct" | "enum" | "trait" | "type" | "const" | "static" => false,
            _ => true,
        };
        if begins_path && !in_use {
            found.insert(text(at));
        }
    }
    found
}

/// Collects the paths whose first name is wanted, in `use` declarations and elsewhere. In inline modules, paths that
/// start with `self` or `super` stay in the file and do not count.
fn paths<'a>(tokens: &[Token<'a>], is_wanted: impl Fn(&str, bool) -> bool) -> Vec<Import<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let before = |at: usize, by: usize| at.checked_sub(by).map_or("", text);
    let (mut found, mut at, mut depth, mut inline_modules) = (Vec::new(), 0, 0, Vec::new());
    while at < tokens.len() {
        let is_use = text(at) == "use" && text(at + 1) != "<"; // not `impl Trait + use<'a>`
        let is_visibility = before(at, 1) == "in" && before(at, 2) == "("; // pub(in crate::process)
        let is_path = text(at + 1) == "::" && before(at, 1) != "::" && !is_visibility;
        if is_use || is_path && is_wanted(text(at), false) {
            let is_public_use = is_use && matches!(before(at, 1), "pub" | ")");
            // A `use` is read whole even if it starts outside the crate, so that no name inside is taken for a root.
            let mut leaves = Vec::new();
            at = read_path(tokens, at + usize::from(is_use), &[], &mut leaves);
            for mut import in leaves {
                let stays = matches!(import.path[0], "self" | "super") && !inline_modules.is_empty();
                let climbs = import.path[1..].contains(&"super");
                if is_wanted(import.path[0], is_use) && (!stays || climbs) {
                    import.binding = import.binding.filter(|_| is_use);
                    import.is_public_use = is_public_use;
                    found.push(import);
                }
            }
            continue;
        }
        // Which braces are those of inline modules?
        match text(at) {
            "{" => {
                depth += 1;
                if before(at, 2) == "mod" {
                    inline_modules.push(depth);
                }
            }
            "}" => {
                if inline_modules.last() == Some(&depth) {
                    inline_modules.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path at `at`, with its groups, into one import per leaf; returns where it ends.
fn read_path<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    stem: &[&'a str],
    found: &mut Vec<Import<'a>>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let (line, mut path) = (tokens.get(at).map_or(0, |token| token.line), stem.to_vec());
    loop {
        if text(at) == "{" {
            at += 1;
            while !matches!(text(at), "}" | "") {
                at = if text(at) == "," { at + 1 } else { read_path(tokens, at, &path, found) };
            }
            return at + 1;
        }
        path.push(text(at));
        at += 1;
        if text(at) != "::" || text(at + 1) == "<" {
            break;
        }
        at += 1;
    }
    let alias = (text(at) == "as").then(|| text(at + 1));
    let binding = alias.or_else(|| path.iter().rfind(|name| **name != "self").copied());
    found.push(Import { line, path, binding, is_public_use: false });
    if alias.is_some() { at + 2 } else { at }
}

/// Returns one line for each circle of imports, found by a depth-first search from every file.
fn circles(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    fn visit<'a>(
        graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        file: &'a str,
        trail: &mut Vec<&'a str>,
        visited: &mut BTreeSet<&'a str>,
        found: &mut Vec<String>,
    ) {
        if let Some(start) = trail.iter().position(|earlier| *earlier == file) {
            found.push(format!("circle: {} -> {file}", trail[start..].join(" -> ")));
        } else if visited.insert(file) {
            trail.push(file);
            for next in graph.get(file).into_iter().flatten() {
                visit(graph, next, trail, visited, found);
            }
            trail.pop();
        }
    }
    let (mut visited, mut found) = (BTreeSet::new(), Vec::new());
    for file in graph.keys() {
        visit(graph, file, &mut Vec::new(), &mut visited, &mut found);
    }
    found
}
