//! docs/guide.md: its code blocks are excerpts of the programs in examples/guide, the programs run, and the links of the
//! documents that rustdoc includes lead to something that exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_code_block_of_the_guide_is_an_excerpt_of_its_program() {
    let program = |name: &str| fs::read_to_string(root().join("examples/guide").join(name)).ok();
    let found = block_faults(&read("docs/guide.md"), program);
    assert!(found.is_empty(), "docs/guide.md:\n{}", found.join("\n"));
}

#[test]
fn test_in_the_readme_is_an_excerpt_of_one_that_runs() {
    let (readme, program) = (read("README.md"), read("tests/it/readme.rs"));
    let block: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != "```rust,ignore")
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    assert!(block.contains(&"#[test]"), "README.md has no test in a `rust,ignore` block");
    assert!(is_excerpt(&block, &program), "the test in README.md differs from tests/it/readme.rs");
}

/// Returns the faults of the code blocks of a guide. `program` returns the source text of a file in examples/guide.
fn block_faults(guide: &str, program: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut chapter: Option<&str> = None;
    let mut blocks = 0;
    let mut lines = (1..).zip(guide.lines());
    while let Some((number, line)) = lines.next() {
        if line.starts_with("## ") {
            chapter = None; // each chapter names its own program
        } else if let Some(name) = line.strip_prefix("Program: `examples/guide/") {
            chapter = name.strip_suffix('`');
        }
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        match language {
            "text" => continue,
            "rust,ignore" => blocks += 1,
            other => found.push(format!("line {number}: a block is `rust,ignore` or `text`, not `{other}`")),
        }
        // rustdoc hides such lines, and a code host shows them.
        if block.iter().any(|line| *line == "#" || line.trim_start().starts_with("# ")) {
            found.push(format!("line {number}: the block has a hidden line"));
        }
        match chapter.map(|name| (name, program(name))) {
            None => found.push(format!("line {number}: the block names no chapter")),
            Some((name, None)) => found.push(format!("line {number}: there is no examples/guide/{name}")),
            Some((name, Some(source))) if !is_excerpt(&block, &source) => {
                found.push(format!("line {number}: the block is not an excerpt of examples/guide/{name}"));
            }
            Some(_) => {}
        }
    }
    if blocks == 0 {
        found.push("there are no blocks".to_owned());
    }
    found
}

/// Returns `true` if the lines are consecutive lines of the source text, after removing the common indentation of both.
fn is_excerpt(block: &[&str], source: &str) -> bool {
    let source: Vec<&str> = source.lines().collect();
    !block.is_empty() && source.windows(block.len()).any(|lines| dedent(lines) == dedent(block))
}

/// Removes the indentation that all lines have in common; empty lines do not count.
fn dedent<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let width = |line: &&&str| line.len() - line.trim_start().len();
    let common =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| width(&line)).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or("")).collect()
}

#[test]
fn the_programs_of_the_guide_run() {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop(); // deps
    path.pop();
    path.push("examples");
    path.push(format!("guide{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples` first", path.display());
    let output = Command::new(path).env_remove("RUST_LOG").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("the output is text");
    assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let passed: Vec<&str> = text.lines().filter(|line| line.ends_with(": all assertions hold")).collect();
    let guide = read("docs/guide.md");
    let titles = guide.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(". "));
    let expected: Vec<String> =
        titles.map(|(number, title)| format!("chapter {number} ({title}): all assertions hold")).collect();
    assert_eq!((expected.len(), passed), (8, expected.iter().map(String::as_str).collect()));
}

/// The documents that are part of the rustdoc output and are read on a code host, too.
const DOCUMENTS: [(&str, &str); 7] = [
    ("guide", "docs/guide.md"),
    ("outages", "docs/outages.md"),
    ("semantics", "docs/semantics.md"),
    ("differences_from_erlang", "docs/differences.md"),
    ("coming_from", "docs/coming_from.md"),
    ("performance", "docs/performance.md"),
    ("hazards", "docs/hazards.md"),
];

const DOCS_RS: &str = "https://docs.rs/rethread/latest/rethread/";

#[test]
fn every_link_leads_somewhere_on_a_code_host_and_in_rustdoc() {
    let sources = rust_sources(&root().join("src"));
    let all: String = sources.iter().map(|path| code(&read(path))).collect();
    let mut found = Vec::new();
    let mut checked = 0;
    for (_, path) in DOCUMENTS {
        let page = read(path);
        for link in links(&page) {
            checked += 1;
            if let Some(fault) = link_fault(&link, &page, &all) {
                found.push(format!("{path}: {link}: {fault}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checked > 20, "only {checked} links were found");
}

/// Returns the targets of all links of a page: `[text](target)` and `[text]: target`.
fn links(page: &str) -> Vec<String> {
    let mut in_block = false;
    let mut targets = Vec::new();
    for line in page.lines() {
        in_block ^= line.starts_with("```");
        if in_block {
            continue;
        }
        if let Some((_, target)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) {
            targets.push(target.trim().to_owned());
        }
        targets.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned));
    }
    targets
}

/// Returns what is wrong with a link. `sources` is the text of all files in src.
fn link_fault(link: &str, page: &str, sources: &str) -> Option<String> {
    if let Some(anchor) = link.strip_prefix('#') {
        return (!has_heading(page, anchor)).then(|| "there is no such heading".to_owned());
    }
    let Some(item) = link.strip_prefix(DOCS_RS) else {
        let is_external = link.starts_with("https://") && !link.contains("docs.rs/rethread");
        return (!is_external).then(|| format!("a link begins with `#` or `{DOCS_RS}`"));
    };
    let (file, anchor) = item.split_once('#').map_or((item, None), |(file, anchor)| (file, Some(anchor)));
    let (module, file) = file.rsplit_once('/').unwrap_or(("", file));
    if let Some((_, document)) = DOCUMENTS.iter().find(|(name, _)| *name == module) {
        let anchor = anchor.filter(|anchor| !has_heading(&read(document), anchor));
        return anchor.map(|_| format!("there is no such heading in {document}"));
    }
    // The module re-exports or defines the item, and a file in src declares it.
    let in_module = match module {
        "" => read("src/lib.rs"),
        module if root().join(format!("src/{module}/mod.rs")).exists() => {
            read(format!("src/{module}/mod.rs"))
        }
        module if root().join(format!("src/{module}.rs")).exists() => read(format!("src/{module}.rs")),
        _ => return Some(format!("there is no module `{module}`")),
    };
    let item = file.strip_suffix(".html")?;
    if item == "index" {
        return None;
    }
    let (kind, name) = item.split_once('.')?;
    if !has_word(&code(&in_module), name) {
        return Some(format!("`{name}` is not in the module `{module}`"));
    }
    if !declares(sources, kind, name) {
        return Some(format!("no file in src declares `{kind} {name}`"));
    }
    match anchor.and_then(|anchor| anchor.split_once('.')) {
        Some(("method" | "tymethod", name)) if !declares(sources, "fn", name) => {
            Some(format!("no file in src declares `fn {name}`"))
        }
        Some(("variant" | "structfield", name)) if !has_word(sources, name) => {
            Some(format!("no file in src contains `{name}`"))
        }
        _ => None,
    }
}

/// Returns `true` if a page has a heading with this anchor, as code hosts and rustdoc derive it from the text.
fn has_heading(page: &str, anchor: &str) -> bool {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(str::to_lowercase).any(|text| {
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>() == anchor
    })
}

/// Returns the lines that are not comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

fn declares(sources: &str, keyword: &str, name: &str) -> bool {
    let declaration = format!("{keyword} {name}");
    sources.match_indices(&declaration).any(|(at, _)| {
        let next = sources[at + declaration.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

fn rust_sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Tests of the checks themselves, on small pages.
mod the_checks {
    use super::{block_faults, dedent, has_heading, link_fault, links};

    const HEAD: &str = "## 1. A\n\nProgram: `examples/guide/a.rs`\n\n";

    #[track_caller]
    fn found(guide: &str, expected: &[&str]) {
        let source = "fn f() {\n    let a = 1;\n\n    if a == 1 {\n        g();\n    }\n}\n";
        let found = block_faults(guide, |name| (name == "a.rs").then(|| source.to_owned()));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn an_excerpt_may_begin_at_any_indentation() {
        found(&format!("{HEAD}```rust,ignore\nlet a = 1;\n\nif a == 1 {{\n    g();\n}}\n```\n"), &[]);
        found(&format!("{HEAD}```rust,ignore\ng();\n```\n```text\nanything\n```\n"), &[]);
        assert_eq!(dedent(&["    a", "", "      b"]), ["a", "", "  b"]);
    }

    #[test]
    fn a_block_that_differs_from_its_program_is_found() {
        found(&format!("{HEAD}```rust,ignore\nlet a = 2;\n```\n"), &["line 5: the block is not an excerpt"]);
        found(&format!("{HEAD}```rust,ignore\nlet a = 1;\nif a == 1 {{\n```\n"), &["not an excerpt"]);
        found(&format!("{HEAD}```rust,ignore\n```\n"), &["not an excerpt"]);
    }

    #[test]
    fn a_block_without_chapter_or_with_a_hidden_line_is_found() {
        found("```rust,ignore\ng();\n```\n", &["names no chapter"]);
        found(&format!("{HEAD}## 2. B\n```rust,ignore\ng();\n```\n"), &["names no chapter"]);
        found("Program: `examples/guide/b.rs`\n```rust,ignore\ng();\n```\n", &["no examples/guide/b.rs"]);
        found(&format!("{HEAD}```rust,ignore\n# g();\n```\n"), &["hidden line", "not an excerpt"]);
        found(&format!("{HEAD}```rust\ng();\n```\n"), &["not `rust`", "no blocks"]);
        found("## 1. A\n", &["there are no blocks"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = "# Exit signals\n[a](#exit-signals) [b](x.md)\n[`c`]: https://docs.rs/log\n";
        assert_eq!(links(page), ["#exit-signals", "x.md", "https://docs.rs/log"]);
        assert!(has_heading("## 8. The limits of threads", "8-the-limits-of-threads"));
        let fault = |link: &str| link_fault(link, page, "pub fn exit(pid: Pid) pub fn exit_with() {}");
        assert_eq!(fault("#exit-signals"), None);
        assert!(fault("#names").is_some());
        assert!(fault("x.md").is_some());
        assert!(fault("crate::process::exit").is_some());
        assert_eq!(fault("https://docs.rs/log"), None);
        assert_eq!(fault("https://docs.rs/rethread/latest/rethread/process/fn.exit.html"), None);
        assert!(fault("https://docs.rs/rethread/latest/rethread/process/fn.exi.html").is_some());
        assert!(fault("https://docs.rs/rethread/latest/rethread/proc/fn.exit.html").is_some());
        assert!(fault("https://docs.rs/rethread/latest/rethread/process/struct.exit.html").is_some());
    }
}
