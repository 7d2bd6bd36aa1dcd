//! The language and the size of `src/`: words of comments, form of function docs, comments among the code, length of
//! files, entries per folder. `CONTRIBUTING.md`, section "Language", explains the rules behind the bounds.
//!
//! `cargo test --test repository readability -- --nocapture` prints the figures, also when they are within the bounds.

mod measure;

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use measure::{Density, ODD_WORDS};

/// Odd words per 1,000 words of comments, all kinds together.
const MAX_ODD_WORDS: f64 = 2.0;
/// Percentage of function docs that begin with a verb in the third person.
const MIN_VERB_FIRST: f64 = 85.0;
/// Plain comments (`// ..`) per 100 lines of code.
const MIN_PLAIN_COMMENTS: f64 = 4.0;
const MAX_FILE_LINES: usize = 650;
/// Files and folders in one folder below `src/`.
const MAX_FOLDER_ENTRIES: usize = 12;
/// Files and folders in `src/` itself, whose files are the modules that users see.
const MAX_ROOT_ENTRIES: usize = 20;
/// Places that a failing test lists.
const MAX_PLACES: usize = 60;

/// A source file: its path from the folder of the package, and its text.
struct Source {
    path: String,
    text: String,
}

/// A folder: its path from the folder of the package, and the number of its files and folders.
struct Folder {
    path: String,
    entries: usize,
}

/// The Rust files and the folders of `src/`, sorted by path.
struct Tree {
    files: Vec<Source>,
    folders: Vec<Folder>,
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self { files: Vec::new(), folders: Vec::new() };
        tree.collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "src");
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.folders.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    fn collect(&mut self, folder: &Path, path: &str) {
        let mut entries = 0;
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{path}: {error}")) {
            let entry = entry.expect("a readable folder entry");
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            entries += 1;
            if entry.path().is_dir() {
                self.collect(&entry.path(), &path);
            } else if path.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
                self.files.push(Source { path, text });
            }
        }
        self.folders.push(Folder { path: path.to_owned(), entries });
    }
}

/// What one measure found: the figure with its unit, and the places to mend, worst first.
struct Finding {
    figure: f64,
    summary: String,
    places: Vec<String>,
}

impl Finding {
    fn report(&self) -> String {
        let mut report = format!("{}\n", self.summary);
        for place in self.places.iter().take(MAX_PLACES) {
            report.push_str(&format!("    {place}\n"));
        }
        if self.places.len() > MAX_PLACES {
            report.push_str(&format!("    and {} more\n", self.places.len() - MAX_PLACES));
        }
        report
    }
}

/// Returns the odd words per 1,000 words of comments. Files with the most odd words come first.
fn measure_odd_words(files: &[Source]) -> Finding {
    let words: usize = files.iter().map(|file| measure::comment_words(&file.text)).sum();
    let mut found: Vec<_> = files.iter().map(|file| (file, measure::odd_words(&file.text))).collect();
    found.sort_by_key(|(_, odd)| Reverse(odd.len()));

    let per_thousand = |count: usize| 1000.0 * count as f64 / words.max(1) as f64;
    let figure = per_thousand(found.iter().map(|(_, odd)| odd.len()).sum());
    let kinds = ODD_WORDS.iter().enumerate().map(|(kind, (name, _))| {
        let count = found.iter().flat_map(|(_, odd)| odd).filter(|odd| odd.kind == kind).count();
        format!("{name} {:.2}", per_thousand(count))
    });
    let kinds = kinds.collect::<Vec<_>>().join(", ");

    Finding {
        figure,
        summary: format!("{words} words of comment; odd words per 1,000: {figure:.2} ({kinds})"),
        places: found
            .iter()
            .flat_map(|(file, odd)| odd.iter().map(|odd| format!("{}:{}: {}", file.path, odd.line, odd.word)))
            .collect(),
    }
}

/// Returns the percentage of function docs that begin with a verb. Files with the most other docs come first.
fn measure_verb_first(files: &[Source]) -> Finding {
    let docs: Vec<_> = files.iter().map(|file| (file, measure::function_docs(&file.text))).collect();
    let total: usize = docs.iter().map(|(_, docs)| docs.len()).sum();
    let mut others: Vec<_> = docs
        .into_iter()
        .map(|(file, docs)| (file, docs.into_iter().filter(|doc| !doc.begins_with_verb).collect::<Vec<_>>()))
        .collect();
    others.sort_by_key(|(_, docs)| Reverse(docs.len()));

    let without = others.iter().map(|(_, docs)| docs.len()).sum::<usize>();
    let figure = 100.0 * (total - without) as f64 / total.max(1) as f64;
    Finding {
        figure,
        summary: format!("function docs that begin with a verb: {figure:.1} % of {total}"),
        places: others
            .iter()
            .flat_map(|(file, docs)| {
                docs.iter().map(|doc| format!("{}:{}: {}", file.path, doc.line, doc.text))
            })
            .collect(),
    }
}

/// Returns the plain comments per 100 lines of code. Files that lack the most comments come first.
fn measure_plain_comments(files: &[Source]) -> Finding {
    let densities: Vec<_> = files.iter().map(|file| (file, measure::density(&file.text))).collect();
    let sum = densities.iter().fold(Density::default(), |sum, (_, density)| Density {
        code: sum.code + density.code,
        plain: sum.plain + density.plain,
    });

    let lacking = |density: &Density| density.code as f64 * MIN_PLAIN_COMMENTS / 100.0 - density.plain as f64;
    let mut short: Vec<_> = densities.iter().filter(|(_, density)| lacking(density) >= 1.0).collect();
    short.sort_by(|(_, a), (_, b)| lacking(b).total_cmp(&lacking(a)));

    let figure = 100.0 * sum.plain as f64 / sum.code.max(1) as f64;
    Finding {
        figure,
        summary: format!("plain comments: {figure:.1} per 100 lines of code ({} in {})", sum.plain, sum.code),
        places: short
            .iter()
            .map(|(file, density)| {
                format!("{}: {} in {} lines of code", file.path, density.plain, density.code)
            })
            .collect(),
    }
}

/// Returns the places of retired words, file names included.
fn retired_places(files: &[Source]) -> Vec<String> {
    let in_path = |file: &Source| {
        let words = measure::retired_words(&file.path);
        words.into_iter().map(|(_, word)| format!("{}: {word} in the name", file.path)).collect::<Vec<_>>()
    };
    let in_text = |file: &Source| {
        let words = measure::retired_words(&file.text);
        words.into_iter().map(|(line, word)| format!("{}:{line}: {word}", file.path)).collect::<Vec<_>>()
    };
    files.iter().flat_map(|file| [in_path(file), in_text(file)].concat()).collect()
}

/// Returns the files and folders that are larger than the limits.
fn oversized(tree: &Tree) -> Vec<String> {
    let files = tree.files.iter().map(|file| (file, file.text.lines().count()));
    let long = files.filter(|(_, lines)| *lines > MAX_FILE_LINES).map(|(file, lines)| {
        format!("{}: {lines} lines, at most {MAX_FILE_LINES}: split the file", file.path)
    });
    let limit = |folder: &Folder| if folder.path == "src" { MAX_ROOT_ENTRIES } else { MAX_FOLDER_ENTRIES };
    let full = tree.folders.iter().filter(|folder| folder.entries > limit(folder)).map(|folder| {
        format!("{}: {} entries, at most {}: add a folder", folder.path, folder.entries, limit(folder))
    });
    long.chain(full).collect()
}

#[test]
fn odd_words_of_src_stay_below_limit() {
    let found = measure_odd_words(&Tree::read().files);
    println!("{}", found.summary);
    assert!(found.figure <= MAX_ODD_WORDS, "at most {MAX_ODD_WORDS}:\n{}", found.report());
}

#[test]
fn function_docs_of_src_begin_with_verb() {
    let found = measure_verb_first(&Tree::read().files);
    println!("{}", found.summary);
    assert!(found.figure >= MIN_VERB_FIRST, "at least {MIN_VERB_FIRST} %:\n{}", found.report());
}

#[test]
fn code_of_src_has_enough_plain_comments() {
    let found = measure_plain_comments(&Tree::read().files);
    println!("{}", found.summary);
    assert!(found.figure >= MIN_PLAIN_COMMENTS, "at least {MIN_PLAIN_COMMENTS}:\n{}", found.report());
}

#[test]
fn retired_words_never_appear_in_src() {
    let places = retired_places(&Tree::read().files);
    let summary = format!("{} retired words in src", places.len());
    println!("{summary}");
    assert!(places.is_empty(), "{}", Finding { figure: 0.0, summary, places }.report());
}

#[test]
fn files_and_folders_of_src_stay_below_size_limits() {
    let places = oversized(&Tree::read());
    assert!(places.is_empty(), "{} too large:\n{}", places.len(), places.join("\n"));
}

/// The measures, on small texts.
mod measuring {
    use super::measure::{
        Density, comment_lines, comment_words, density, function_docs, odd_words, retired_words,
    };
    use super::{
        Folder, MAX_FILE_LINES, MAX_FOLDER_ENTRIES, MAX_ROOT_ENTRIES, Source, Tree, measure_odd_words,
        measure_plain_comments, measure_verb_first, oversized, retired_places,
    };

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The odd words of a text, with their lines.
    fn odd(text: &str) -> Vec<(usize, &'static str)> {
        odd_words(text).into_iter().map(|odd| (odd.line, odd.word)).collect()
    }

    /// Whether each function doc of a text begins with a verb.
    fn verbs(text: &str) -> Vec<bool> {
        function_docs(text).into_iter().map(|doc| doc.begins_with_verb).collect()
    }

    #[test]
    fn comment_lines_of_mixed_text_exclude_code() {
        let text = "//! one\nlet x = 1; // two\n    /// three\n// four\n";
        assert_eq!(comment_lines(text), [(1, " one"), (3, " three"), (4, " four")]);
    }

    #[test]
    fn comment_lines_of_code_block_are_skipped() {
        let text = "/// one\n/// ```\n/// who();\n/// ```\n/// two";
        assert_eq!(comment_lines(text), [(1, " one"), (5, " two")]);
    }

    #[test]
    fn code_block_left_open_ends_with_comment() {
        let text = "/// ```\n/// who();\nfn f() {}\n/// two";
        assert_eq!(comment_lines(text), [(4, " two")]);
    }

    #[test]
    fn comment_words_with_apostrophes_and_digits_are_counted_as_words_of_letters() {
        assert_eq!(comment_words("// the caller's 2 links: a_b"), 5);
    }

    #[test]
    fn odd_word_in_comment_is_found_with_its_line() {
        assert_eq!(odd("fn f() {}\n/// Wakes whoever waits."), [(2, "whoever")]);
    }

    #[test]
    fn odd_word_within_longer_word_is_ignored() {
        assert_eq!(odd("// whole, deadline, retell, newsletter, Who"), []);
    }

    #[test]
    fn odd_word_beside_signs_is_found() {
        assert_eq!(
            odd("// (who) it's `dead`, who's told_all"),
            [(1, "who"), (1, "who"), (1, "told"), (1, "dead")]
        );
    }

    #[test]
    fn odd_word_in_code_is_ignored() {
        assert_eq!(odd("fn who() { told() } // dead"), []);
    }

    #[test]
    fn odd_phrase_of_two_words_is_found() {
        assert_eq!(odd("/// Waits for ever.\n/// As [`recv`], but longer."), [(1, "for ever"), (2, "As [")]);
    }

    #[test]
    fn doc_with_verb_in_third_person_is_verb_first() {
        assert_eq!(verbs("/// Wakes the thread.\nfn wake() {}"), [true]);
        assert_eq!(verbs("/// `Sends` a message.\npub(crate) const fn send() {}"), [true]);
    }

    #[test]
    fn doc_with_other_first_word_is_not_verb_first() {
        for first in ["Whether", "The", "Wake", "This", "Has", "As", "Process", "Yes", "S", "IDs", "wakes"] {
            assert_eq!(verbs(&format!("/// {first} it is.\nfn f() {{}}")), [false], "{first}");
        }
    }

    #[test]
    fn doc_of_several_lines_counts_once() {
        let text = "/// Wakes the thread.\n///\n/// The reader.\n#[inline]\n\nfn wake() {}";
        let found = function_docs(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].text), (1, "Wakes the thread."));
    }

    #[test]
    fn doc_of_other_item_is_ignored() {
        for item in ["struct S;", "pub struct S;", "const N: u8 = 1;", "publish fn", "pub(crate) use x;", ""]
        {
            assert_eq!(verbs(&format!("/// The thing.\n{item}")), [], "{item}");
        }
    }

    #[test]
    fn density_of_text_counts_plain_comments_only() {
        let text = "//! a\n/// b\n// c\n\nlet d = 1; // e\nlet f = \"http://g\";\n//h\n";
        assert_eq!(density(text), Density { code: 2, plain: 2 });
    }

    #[test]
    fn retired_word_within_name_is_found() {
        let text = "fn is_doomed()\nstruct DoomedProcess;\nconst BURIAL: u8\n// Whoever\n\"a linger\"";
        let expected = [(1, "doomed"), (2, "doomed"), (3, "burial"), (4, "whoever"), (5, "linger")];
        assert_eq!(retired_words(text), expected);
    }

    #[test]
    fn retired_word_within_longer_word_is_ignored() {
        assert_eq!(retired_words("malingers restated lingering"), []);
    }

    #[test]
    fn retired_word_in_path_is_reported() {
        assert_eq!(retired_places(&[file("src/linger.rs", "")]), ["src/linger.rs: linger in the name"]);
    }

    #[test]
    fn file_with_most_odd_words_is_reported_first() {
        let files = [file("a.rs", "// who"), file("b.rs", "// told\n// two dead")];
        let found = measure_odd_words(&files);
        assert_eq!(found.places, ["b.rs:1: told", "b.rs:2: dead", "a.rs:1: who"]);
        assert_eq!(found.figure, 750.0);
    }

    #[test]
    fn doc_without_verb_is_reported_with_its_text() {
        let found = measure_verb_first(&[file("a.rs", "/// Wakes.\nfn a()\n/// The end.\nfn b()")]);
        assert_eq!(found.places, ["a.rs:3: The end."]);
        assert_eq!(found.figure, 50.0);
    }

    #[test]
    fn file_without_plain_comments_is_reported() {
        let files = [file("a.rs", &"f();\n".repeat(50)), file("b.rs", &"f(); // why\n".repeat(50))];
        let found = measure_plain_comments(&files);
        assert_eq!(found.places, ["a.rs: 0 in 50 lines of code"]);
        assert_eq!(found.figure, 50.0);
    }

    #[test]
    fn figures_of_empty_tree_are_zero() {
        let figures = [measure_odd_words(&[]), measure_verb_first(&[]), measure_plain_comments(&[])];
        assert_eq!(figures.map(|found| found.figure), [0.0; 3]);
    }

    #[test]
    fn report_of_many_places_is_cut() {
        let found = measure_odd_words(&[file("a.rs", &"// who\n".repeat(super::MAX_PLACES + 7))]);
        assert!(found.report().ends_with("and 7 more\n"), "{}", found.report());
    }

    #[test]
    fn tree_beyond_size_limits_is_reported() {
        let folder = |path: &str, entries| Folder { path: path.to_owned(), entries };
        let at_limits = Tree {
            files: vec![file("src/a.rs", &"\n".repeat(MAX_FILE_LINES))],
            folders: vec![folder("src", MAX_ROOT_ENTRIES), folder("src/b", MAX_FOLDER_ENTRIES)],
        };
        assert_eq!(oversized(&at_limits), Vec::<String>::new());

        let beyond = Tree {
            files: vec![file("src/a.rs", &"\n".repeat(MAX_FILE_LINES + 1))],
            folders: vec![folder("src", MAX_ROOT_ENTRIES + 1), folder("src/b", MAX_FOLDER_ENTRIES + 1)],
        };
        let found = oversized(&beyond);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("src/a.rs: 651 lines"), "{found:?}");
    }
}
