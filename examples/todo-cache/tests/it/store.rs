//! The process-free part of the example `todo-cache`: dates, names, the rules of a list, and lists on disk,
//! with every kind of damage that a file may suffer.

use crate::todo::date::{Date, DateError};
use crate::todo::list::{Entry, EntryId, Event, NoSuchEntry, TodoList};
use crate::todo::name::{ListName, NameError, Title, TitleError};

fn date(text: &str) -> Date {
    text.parse().expect("a good date")
}

fn name(text: &str) -> ListName {
    text.parse().expect("a good name")
}

fn title(text: &str) -> Title {
    text.parse().expect("a good title")
}

fn added(id: EntryId, day: &str, text: &str) -> Event {
    Event::Added(Entry { id, date: date(day), title: title(text), done: false })
}

mod dates {
    use super::*;

    #[test]
    fn date_has_one_format() {
        for text in ["2026-11-22", "2024-02-29", "0000-01-01", "9999-12-31"] {
            assert_eq!(date(text).to_string(), text);
        }
        assert_eq!(Date::new(2026, 11, 22), Ok(date("2026-11-22")));
        assert!(date("2026-09-30") < date("2026-10-01"));
    }

    #[test]
    fn other_date_formats_are_refused() {
        let texts = [
            "",
            "2026",
            "20261122",
            "2026-11-2",
            "2026-1-22",
            "26-11-22",
            "2026/11/22",
            "22.11.2026",
            " 2026-11-22",
            "2026-11-22 ",
            "2026-11-22T09:00",
            "-026-11-22",
            "+2026-11-22",
            "2026-11-2x",
            "２０２６-11-22",
            "tomorrow",
        ];
        for text in texts {
            assert_eq!(text.parse::<Date>(), Err(DateError::Format), "{text:?}");
        }
        assert_eq!(DateError::Format.to_string(), "expected a date as YYYY-MM-DD, such as 2026-11-22");
    }

    #[test]
    fn a_day_that_is_not_in_the_calendar_is_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "2026-01-00", "2026-99-99"] {
            let error = text.parse::<Date>().expect_err("no such day");
            assert!(matches!(error, DateError::NoSuchDay { .. }), "{text}: {error:?}");
            assert!(error.to_string().ends_with(&format!("there is no {text}")), "{error}");
        }
        assert!(Date::new(10_000, 1, 1).is_err() && Date::new(-1, 1, 1).is_err());
    }
}

mod names {
    use super::*;

    #[test]
    fn any_text_without_control_characters_is_a_name() {
        for text in ["bob", "../x", "/etc/passwd", "C:\\NUL", "🛒", "Zürich 買い物", "a b", ".", "\u{202e}x"]
        {
            assert_eq!(name(text).as_str(), text);
            assert_eq!(name(text).to_string(), text);
        }
    }

    #[test]
    fn a_name_has_1_to_64_characters() {
        assert_eq!("".parse::<ListName>(), Err(NameError::Empty));
        for filling in ["x", "é", "🛒"] {
            assert!(filling.repeat(64).parse::<ListName>().is_ok());
            assert_eq!(filling.repeat(65).parse::<ListName>(), Err(NameError::TooLong));
        }
        assert_eq!(NameError::TooLong.to_string(), "a list's name has at most 64 characters");
    }

    #[test]
    fn blanks_around_and_control_characters_in_a_name_are_refused() {
        for text in [" bob", "bob ", " ", "\u{3000}bob", "bob\u{a0}"] {
            assert_eq!(text.parse::<ListName>(), Err(NameError::Blank), "{text:?}");
        }
        for (text, control) in [("a\nb", '\n'), ("bob\t", '\t'), ("\0", '\0'), ("\u{85}x", '\u{85}')] {
            assert_eq!(text.parse::<ListName>(), Err(NameError::Control(control)), "{text:?}");
        }
        assert!(!NameError::Control('\n').to_string().contains('\n'));
    }

    #[test]
    fn a_title_has_1_to_200_characters() {
        assert!(" Dentist, 9:00 🦷 ".parse::<Title>().is_ok());
        assert!("é".repeat(200).parse::<Title>().is_ok());
        assert_eq!("é".repeat(201).parse::<Title>(), Err(TitleError::TooLong));
        assert_eq!("".parse::<Title>(), Err(TitleError::Empty));
        assert_eq!("  ".parse::<Title>(), Err(TitleError::Empty));
        assert_eq!("a\r".parse::<Title>(), Err(TitleError::Control('\r')));
    }
}

mod lists {
    use super::*;

    fn of(events: &[Event]) -> TodoList {
        let mut list = TodoList::new();
        events.iter().cloned().for_each(|event| list.apply(event));
        list
    }

    #[test]
    fn entries_get_ids_from_1_and_are_found_by_day() {
        let mut list = TodoList::new();
        assert!(list.is_empty());
        for (day, text) in [("2026-11-22", "Dentist"), ("2026-11-23", "Shopping"), ("2026-11-22", "Movies")] {
            let event = list.plan_add(date(day), title(text));
            list.apply(event);
        }
        assert_eq!(list.entries().map(|entry| entry.id).collect::<Vec<_>>(), [1, 2, 3]);
        let on = |day| list.on(date(day)).map(|entry| entry.title.as_str()).collect::<Vec<_>>();
        assert_eq!(on("2026-11-22"), ["Dentist", "Movies"]);
        assert_eq!(on("2026-11-24"), [""; 0]);
    }

    #[test]
    fn a_plan_changes_nothing() {
        let list = of(&[added(1, "2026-11-22", "a")]);
        let before = list.clone();
        let _ = (list.plan_add(date("2026-11-22"), title("b")), list.plan_done(1), list.plan_remove(1));
        assert_eq!(list, before);
    }

    #[test]
    fn done_edit_and_remove_change_their_entry_only() {
        let mut list = of(&[added(1, "2026-11-22", "a"), added(2, "2026-11-22", "b")]);
        let events = [list.plan_done(1), list.plan_edit(1, title("A")), list.plan_remove(2)];
        events.into_iter().for_each(|event| list.apply(event.expect("both are there")));
        let a = Entry { id: 1, date: date("2026-11-22"), title: title("A"), done: true };
        assert_eq!(list.entries().collect::<Vec<_>>(), [&a]);
        assert_eq!(list.get(1), Some(&a));
    }

    #[test]
    fn plan_for_a_missing_entry_is_an_error() {
        let list = of(&[added(1, "2026-11-22", "a"), Event::Removed { id: 1 }]);
        for id in [0, 1, 2, EntryId::MAX] {
            assert_eq!(list.plan_done(id), Err(NoSuchEntry(id)));
            assert_eq!(list.plan_edit(id, title("x")), Err(NoSuchEntry(id)));
            assert_eq!(list.plan_remove(id), Err(NoSuchEntry(id)));
        }
    }

    #[test]
    fn an_event_applied_again_changes_nothing() {
        let events = [
            added(1, "2026-11-22", "a"),
            added(2, "2026-11-22", "b"),
            Event::Done { id: 1 },
            Event::Edited { id: 2, title: title("B") },
            Event::Removed { id: 1 },
        ];
        for n in 0..events.len() {
            let mut list = of(&events[..=n]);
            let once = list.clone();
            for event in &events[..=n] {
                list.apply(event.clone());
            }
            assert_eq!(list, once, "after {:?}", events[n]);
        }
    }

    #[test]
    fn id_is_never_reused() {
        let mut list = of(&[added(1, "2026-11-22", "a"), added(2, "2026-11-22", "b")]);
        list.apply(Event::Removed { id: 2 });
        assert_eq!(list.plan_add(date("2026-11-22"), title("c")), added(3, "2026-11-22", "c"));
        list.apply(added(2, "2026-11-22", "b"));
        assert_eq!(list.len(), 1, "a removed entry does not come back");
        assert_eq!(TodoList::restore(3, list.entries().cloned()), list);
        assert_eq!(TodoList::restore(1, [Entry { id: 7, ..list.get(1).expect("a").clone() }]).next_id(), 8);
    }
}

mod stores {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Barrier, LazyLock};

    use super::*;
    use crate::todo::store::{Store, StoreError, fnv1a, shard_of};

    /// A folder with one shard, and what was acknowledged of it.
    struct Folder {
        dir: tempfile::TempDir,
        list: TodoList,
        written: Vec<(ListName, Event)>,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder for the test");
            Self { dir, list: TodoList::new(), written: Vec::new() }
        }

        fn path(&self) -> &Path {
            self.dir.path()
        }

        fn shard(&self) -> PathBuf {
            self.path().join("shard-0.redb")
        }

        fn open(&self) -> Result<Store, StoreError> {
            Store::open(self.path(), 0, 1)
        }

        /// Writes some batches to the list "bob", with removals among them.
        #[track_caller]
        fn write(&mut self, store: &mut Store, batches: usize) {
            for n in 0..batches {
                let mut batch = Vec::new();
                for k in 0..8 {
                    let event = match self.list.entries().next().map(|entry| entry.id) {
                        Some(id) if k == 5 => self.list.plan_remove(id).expect("the first entry"),
                        Some(id) if k == 6 => self.list.plan_done(id).expect("the first entry"),
                        _ => {
                            self.list.plan_add(date("2026-11-22"), title(&format!("entry {k} of batch {n}")))
                        }
                    };
                    self.list.apply(event.clone());
                    batch.push((name("bob"), event));
                }
                store.append(&batch).expect("an acknowledged batch");
                self.written.extend(batch);
            }
        }

        /// Returns a folder that was written to and closed cleanly. It is created once; each test gets a copy.
        fn closed() -> Self {
            static MADE: LazyLock<Kept> = LazyLock::new(|| {
                let mut folder = Folder::new();
                let mut store = folder.open().expect("a new store");
                folder.write(&mut store, 4);
                drop(store);
                folder.keep()
            });
            MADE.copy()
        }

        /// Returns a folder whose program was killed: its shard was never closed.
        fn killed() -> Self {
            static MADE: LazyLock<Kept> = LazyLock::new(|| {
                let mut folder = Folder::closed();
                let mut store = folder.open().expect("an old store");
                folder.write(&mut store, 2);
                folder.keep() // the store is still open: this is what a kill leaves
            });
            MADE.copy()
        }

        fn keep(&self) -> Kept {
            let content = |file| fs::read(self.path().join(file)).expect("a file of the store");
            Kept { files: FILES.map(content), list: self.list.clone(), written: self.written.clone() }
        }
    }

    const FILES: [&str; 3] = ["shards", "shard-0.redb", "shard-0.mark"];

    /// A folder in memory.
    struct Kept {
        files: [Vec<u8>; 3],
        list: TodoList,
        written: Vec<(ListName, Event)>,
    }

    impl Kept {
        fn copy(&self) -> Folder {
            let copy = Folder { list: self.list.clone(), written: self.written.clone(), ..Folder::new() };
            for (file, content) in FILES.iter().zip(&self.files) {
                fs::write(copy.path().join(file), content).expect("a copy");
            }
            copy
        }
    }

    #[track_caller]
    fn one_line(error: &StoreError) -> String {
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
        text
    }

    #[test]
    fn shard_of_a_list_never_changes() {
        // The published test values of 64-bit FNV-1a, and what follows from it for a few names.
        let published: [(&str, u64); 3] =
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)];
        for (text, hash) in published {
            assert_eq!(fnv1a(text.as_bytes()), hash, "{text}");
        }
        let homes = ["bob", "alice", "🛒", "../x", "Zürich"].map(|text| shard_of(&name(text), 3));
        assert_eq!(homes, [0, 2, 2, 0, 1]);
        assert_eq!(shard_of(&name("bob"), 1), 0);
        let spread = (0..3000).fold([0; 3], |mut shards, n| {
            shards[shard_of(&name(&format!("list {n}")), 3)] += 1;
            shards
        });
        assert!(spread.iter().all(|count| (900..1100).contains(count)), "{spread:?}");
    }

    #[test]
    fn appended_events_are_loaded() {
        let mut folder = Folder::new();
        let mut store = folder.open().expect("a new store");
        assert_eq!(store.lists().expect("no lists"), []);
        assert_eq!(store.load(&name("bob")).expect("nothing"), TodoList::new());
        folder.write(&mut store, 3);
        store.append(&[]).expect("nothing to do");
        assert_eq!(store.load(&name("bob")).expect("bob"), folder.list);
        drop(store);
        for _ in 0..2 {
            let mut store = folder.open().expect("an old store");
            assert_eq!(store.load(&name("bob")).expect("bob"), folder.list);
            assert_eq!(store.lists().expect("one list"), [name("bob")]);
        }
    }

    #[test]
    fn killed_program_has_lost_nothing() {
        let folder = Folder::killed();
        assert_eq!(folder.open().expect("an old store").load(&name("bob")).expect("bob"), folder.list);
    }

    #[test]
    fn lists_do_not_mix_and_names_are_data() {
        let folder = Folder::new();
        let sub = folder.path().join("data");
        let mut store = Store::open(&sub, 0, 1).expect("a new store");
        let longest = "🛒".repeat(64);
        let names = ["../x", "a", "a ä", "aa", "shard-0.redb", "/tmp/x", "🛒", longest.as_str()];
        let batch = names.map(|text| (name(text), added(1, "2026-11-22", text)));
        store.append(&batch).expect("eight lists");
        store.append(&[(name("a"), added(2, "2026-11-23", "second"))]).expect("one more entry");
        drop(store);
        let mut store = Store::open(&sub, 0, 1).expect("an old store");
        let mut sorted = names.map(name);
        sorted.sort();
        assert_eq!(store.lists().expect("the lists"), sorted);
        for text in names {
            let list = store.load(&name(text)).expect("a list");
            assert_eq!(list.len(), if text == "a" { 2 } else { 1 });
            assert_eq!(list.get(1).expect("its entry").title, title(text));
        }
        let beside = fs::read_dir(folder.path()).expect("the outer folder").count();
        assert_eq!(beside, 1, "a file outside of the store's folder");
    }

    #[test]
    fn event_appended_twice_is_written_once() {
        let mut folder = Folder::new();
        let mut store = folder.open().expect("a new store");
        folder.write(&mut store, 2);
        let again = folder.written.clone();
        store.append(&again).expect("the same events again");
        for event in &again {
            store.append(std::slice::from_ref(event)).expect("the same event again");
        }
        drop(store);
        assert_eq!(folder.open().expect("an old store").load(&name("bob")).expect("bob"), folder.list);
    }

    #[test]
    fn stale_event_is_refused_with_its_whole_batch() {
        let mut folder = Folder::new();
        let mut store = folder.open().expect("a new store");
        folder.write(&mut store, 1);
        let next = folder.list.next_id();
        let alive = folder.list.entries().next().expect("an entry").id;
        let misfits = [
            added(alive, "2026-11-22", "another under the same id"),
            Event::Done { id: next },
            Event::Removed { id: next + 5 },
            Event::Edited { id: next, title: title("x") },
        ];
        for misfit in misfits {
            let id = misfit.id();
            let batch = [(name("good"), added(1, "2026-11-22", "x")), (name("bob"), misfit)];
            let error = store.append(&batch).expect_err("a misfit");
            assert!(
                matches!(&error, StoreError::Stale { list, id: it } if *list == name("bob") && *it == id)
            );
            assert!(one_line(&error).contains("\"bob\""));
        }
        assert_eq!(store.lists().expect("bob only"), [name("bob")]);
        assert_eq!(store.load(&name("bob")).expect("bob"), folder.list);
        folder.write(&mut store, 1);
    }

    #[test]
    fn ids_are_not_reused_after_a_restart() {
        let folder = Folder::new();
        let mut store = folder.open().expect("a new store");
        let list = name("bob");
        let events = [
            added(1, "2026-11-22", "a"),
            added(2, "2026-11-22", "b"),
            Event::Removed { id: 2 },
            Event::Removed { id: 1 },
        ];
        store.append(&events.map(|event| (list.clone(), event))).expect("all of them");
        drop(store);
        let mut store = folder.open().expect("an old store");
        let kept = store.load(&list).expect("bob");
        assert!(kept.is_empty());
        assert_eq!(kept.plan_add(date("2026-11-22"), title("c")).id(), 3);
        assert_eq!(store.lists().expect("a list that had entries"), [list]);
    }

    #[test]
    fn list_of_another_shard_is_refused() {
        let folder = Folder::new();
        let list = name("bob");
        let home = shard_of(&list, 4);
        let mut store = Store::open(folder.path(), (home + 1) % 4, 4).expect("a new store");
        let error = store.append(&[(list.clone(), added(1, "2026-11-22", "a"))]).expect_err("not its list");
        assert!(matches!(error, StoreError::WrongShard { home: named, .. } if named == home));
        let error = store.load(&list).expect_err("not its list");
        assert!(one_line(&error).ends_with(&format!("ask shard {home}")));
    }

    #[test]
    fn shard_can_be_open_once() {
        let folder = Folder::closed();
        let first = folder.open().expect("an old store");
        let error = folder.open().expect_err("it is open");
        assert!(matches!(&error, StoreError::Locked { path } if *path == folder.shard()), "{error}");
        assert!(one_line(&error).contains("shard-0.redb is in use"));
        drop(first);
        folder.open().expect("it is free again");
    }

    #[test]
    fn shards_can_be_created_concurrently() {
        let folder = Folder::new();
        let dir = folder.path().join("made/on/the/way");
        let start = Barrier::new(8);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = |n: usize| {
                let (start, dir) = (&start, &dir);
                move || {
                    start.wait();
                    Store::open(dir, n % 4, 4)
                }
            };
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(open(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        // Two threads for each shard: one has it, the other finds it locked.
        for n in 0..4 {
            let pair = [&opened[n], &opened[n + 4]];
            assert_eq!(pair.iter().filter(|result| result.is_ok()).count(), 1, "{pair:?}");
            assert!(pair.iter().any(|result| matches!(result, Err(StoreError::Locked { .. }))), "{pair:?}");
        }
        let drafts = fs::read_dir(&dir).expect("the folder").filter(|file| {
            file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().starts_with(".draft"))
        });
        assert_eq!(drafts.count(), 0);
    }

    #[test]
    fn another_number_of_shards_is_refused() {
        let folder = Folder::closed();
        for shard in [0, 2] {
            let error = Store::open(folder.path(), shard, 3).expect_err("it has one shard");
            assert!(matches!(error, StoreError::WrongShardCount { found: 1, asked: 3, .. }), "{error}");
            assert!(one_line(&error).contains("says 1 shards, not 3"), "{error}");
        }
        assert!(!folder.path().join("shard-2.redb").exists());
        // Whatever the folder says, the shard knows its own number.
        fs::write(folder.path().join("shards"), "3\n").expect("a false record");
        let error = Store::open(folder.path(), 0, 3).expect_err("it was made for one");
        assert!(matches!(error, StoreError::WrongShardCount { found: 1, asked: 3, .. }), "{error}");
    }

    #[test]
    fn missing_or_damaged_shard_count_is_refused() {
        let folder = Folder::closed();
        let record = folder.path().join("shards");
        for text in ["", "one", "-1", "1 2"] {
            fs::write(&record, text).expect("a spoilt record");
            let error = folder.open().expect_err("a spoilt record");
            assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == record), "{error}");
        }
        fs::remove_file(&record).expect("a record");
        let error = folder.open().expect_err("a lost record");
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == record), "{error}");
        assert!(one_line(&error).contains("write the number"));
        fs::write(&record, "1").expect("the number, as the error says");
        assert_eq!(folder.open().expect("an old store").load(&name("bob")).expect("bob"), folder.list);
    }

    #[test]
    fn missing_shard_is_not_created_again() {
        let folder = Folder::closed();
        fs::write(folder.shard(), "").expect("an empty file");
        let error = folder.open().expect_err("an empty shard");
        assert!(one_line(&error).contains("it is empty"), "{error}");
        assert_eq!(fs::read(folder.shard()).expect("the empty file"), [0_u8; 0]);
        fs::remove_file(folder.shard()).expect("the shard");
        let error = folder.open().expect_err("a missing shard");
        assert!(matches!(error, StoreError::Damaged { .. }) && one_line(&error).contains("it is missing"));
        assert!(!folder.shard().exists());
    }

    #[test]
    fn shard_under_the_name_of_another_is_refused() {
        let folder = Folder::new();
        drop([0, 1].map(|shard| Store::open(folder.path(), shard, 2).expect("a new store")));
        fs::copy(folder.path().join("shard-0.redb"), folder.path().join("shard-1.redb")).expect("a copy");
        let error = Store::open(folder.path(), 1, 2).expect_err("it is shard 0");
        assert!(one_line(&error).contains("it is shard 0 under the name of shard 1"), "{error}");
    }

    #[test]
    fn old_copy_is_refused_until_its_mark_is_removed() {
        let mut folder = Folder::closed();
        let old = (fs::read(folder.shard()).expect("the shard"), folder.list.clone());
        let mut store = folder.open().expect("an old store");
        folder.write(&mut store, 1);
        drop(store);
        fs::write(folder.shard(), &old.0).expect("the old copy");
        let error = folder.open().expect_err("it lacks a batch");
        assert!(matches!(error, StoreError::Behind { found: 4, acknowledged: 5, .. }), "{error}");
        assert!(one_line(&error).contains("shard-0.mark to go on"), "{error}");
        fs::remove_file(folder.path().join("shard-0.mark")).expect("the mark");
        assert_eq!(folder.open().expect("as the error says").load(&name("bob")).expect("bob"), old.1);
    }

    #[test]
    fn damaged_mark_is_harmless() {
        let folder = Folder::closed();
        for text in ["", "garbage", "00000000000000000009 00000000000000000008\n", "\u{feff}é"] {
            fs::write(folder.path().join("shard-0.mark"), text).expect("a spoilt mark");
            assert_eq!(folder.open().expect("an old store").load(&name("bob")).expect("bob"), folder.list);
        }
    }

    #[test]
    fn unusable_folder_has_its_own_error() {
        let folder = Folder::new();
        let file = folder.path().join("file");
        fs::write(&file, "no folder").expect("a file");
        for dir in [file.clone(), file.join("under")] {
            let error = Store::open(&dir, 0, 1).expect_err("a file is in the way");
            assert!(matches!(&error, StoreError::Io { path, .. } if *path == dir), "{error}");
            assert!(one_line(&error).contains("cannot use"));
        }
        // A folder where the shard should be.
        let folder = Folder::new();
        fs::create_dir_all(folder.shard()).expect("a folder");
        fs::write(folder.path().join("shards"), "1").expect("the record");
        let error = folder.open().expect_err("a folder is in the way");
        assert!(matches!(&error, StoreError::Io { path, .. } if *path == folder.shard()), "{error}");
    }

    #[test]
    fn store_error_can_be_shared() {
        fn shared<T: Clone + Send + Sync + std::error::Error + 'static>() {}
        shared::<StoreError>();
    }

    /// Damages the shard in one way after another. Each time it is refused, with the file left as it was,
    /// or it opens with everything that was acknowledged. Gives how many were refused.
    #[track_caller]
    fn refused_or_whole(folder: &Folder, cases: impl IntoIterator<Item = (String, Vec<u8>)>) -> usize {
        let mark = fs::read(folder.path().join("shard-0.mark")).expect("the mark");
        let mut refused = 0;
        for (what, bytes) in cases {
            fs::write(folder.shard(), &bytes).expect("a damaged shard");
            fs::write(folder.path().join("shard-0.mark"), &mark).expect("its mark");
            match folder.open() {
                Ok(mut store) => assert_eq!(store.load(&name("bob")).expect("bob"), folder.list, "{what}"),
                Err(error) => {
                    assert!(one_line(&error).contains("shard-0.redb"), "{what}: {error}");
                    let kind = matches!(error, StoreError::Damaged { .. } | StoreError::Behind { .. });
                    assert!(kind, "{what}: {error}");
                    assert!(fs::read(folder.shard()).expect("the shard") == bytes, "{what}: it was changed");
                    refused += 1;
                }
            }
        }
        refused
    }

    /// Returns a deterministic sequence of numbers (xorshift).
    fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        }
    }

    /// redb checks a file five times as fast when it is optimised.
    const THOROUGH: bool = !cfg!(debug_assertions);

    #[test]
    fn truncated_shard_is_refused() {
        for folder in [Folder::closed(), Folder::killed()] {
            let whole = fs::read(folder.shard()).expect("the shard");
            let mut number = numbers(0x1234_5678_9abc_def1);
            let mut cuts = vec![
                1,
                8,
                9,
                10,
                63,
                64,
                319,
                320,
                321,
                4095,
                4096,
                8192,
                whole.len() - 4096,
                whole.len() - 1,
            ];
            cuts.extend((0..30).map(|_| number(whole.len())));
            let count = cuts.len();
            let cases = cuts.into_iter().map(|cut| (format!("cut at {cut}"), whole[..cut].to_vec()));
            assert_eq!(refused_or_whole(&folder, cases), count, "all of them");
        }
    }

    #[test]
    fn a_damaged_header_is_never_silently_less() {
        for folder in [Folder::closed(), Folder::killed()] {
            let whole = fs::read(folder.shard()).expect("the shard");
            let mut cases = Vec::new();
            // 320 bytes: identity, flags and sizes, then the records of the last two commits.
            for bit in (0..320 * 8).step_by(if THOROUGH { 7 } else { 127 }) {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                cases.push((format!("bit {} of byte {}", bit % 8, bit / 8), bytes));
            }
            for flags in 0..8 {
                let mut bytes = whole.clone();
                bytes[9] = flags;
                cases.push((format!("flags {flags}"), bytes));
            }
            for (what, range) in
                [("magic", 0..9), ("head", 0..64), ("first record", 64..192), ("header", 0..320)]
            {
                let mut bytes = whole.clone();
                bytes[range].fill(0);
                cases.push((format!("{what} of zeros"), bytes));
            }
            let (count, refused) = (cases.len(), refused_or_whole(&folder, cases));
            assert!(refused > count / 3, "{refused} of {count}"); // one record of the two, and the sizes
        }
    }

    #[test]
    fn damaged_pages_are_never_silently_less() {
        for folder in [Folder::closed(), Folder::killed()] {
            let whole = fs::read(folder.shard()).expect("the shard");
            let page_at = |page: usize| &whole[page * 4096..][..4096];
            let in_use = |page: &usize| page_at(*page).iter().any(|byte| *byte != 0);
            let has_rows = |page: &usize| page_at(*page).windows(8).any(|bytes| bytes == b"of batch");
            let (rows, others): (Vec<usize>, Vec<usize>) =
                (1..whole.len() / 4096).filter(in_use).partition(has_rows);
            let others = others.iter().step_by(if THOROUGH { 1 } else { 32 });
            let mut number = numbers(0xfeed_beef_cafe_f00d);
            let mut cases = Vec::new();
            for page in rows.iter().chain(others) {
                let mut bytes = whole.clone();
                let page = &mut bytes[page * 4096..][..4096];
                let what = match number(3) {
                    0 => {
                        // Where the content of a page is: from both ends.
                        let at = if number(2) == 0 { number(64) } else { 4095 - number(64) };
                        page[at] ^= 1 << number(8);
                        "a bit"
                    }
                    1 => {
                        page.fill_with(|| number(256) as u8);
                        "garbage"
                    }
                    _ => {
                        page.fill(0);
                        "zeros"
                    }
                };
                cases.push((what.to_owned(), bytes));
            }
            assert!(refused_or_whole(&folder, cases) > 0);
        }
    }

    #[test]
    fn file_that_is_no_shard_is_left_unchanged() {
        let folder = Folder::closed();
        let text = b"groceries: milk, bread".repeat(1000);
        let cases = [("a text", text), ("zeros", vec![0; 1 << 20]), ("a byte", vec![b'r'])];
        assert_eq!(refused_or_whole(&folder, cases.map(|(what, bytes)| (what.to_owned(), bytes))), 3);
        // The same in a folder that has no shard yet.
        let folder = Folder::new();
        fs::write(folder.path().join("shards"), "1").expect("the record");
        for bytes in [&b""[..], b"my own file"] {
            fs::write(folder.shard(), bytes).expect("a file in the way");
            let error = folder.open().expect_err("it is no shard");
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(folder.shard()).expect("the file"), bytes);
        }
    }

    #[test]
    fn invalid_entry_on_disk_is_an_error() {
        use redb::{Database, TableDefinition};
        const ENTRIES: TableDefinition<'_, (&str, u64), (&str, &str, bool)> = TableDefinition::new("entries");
        let folder = Folder::closed();
        let database = Database::create(folder.shard()).expect("the shard, by redb alone");
        let mut transaction = database.begin_write().expect("a transaction");
        transaction.set_two_phase_commit(true);
        transaction
            .open_table(ENTRIES)
            .expect("the table")
            .insert(("bob", 3), ("2026-02-30", "x", false))
            .expect("a row");
        transaction.commit().expect("a commit");
        drop(database);
        let error = folder.open().expect("a whole file").load(&name("bob")).expect_err("a bad row");
        assert!(one_line(&error).contains("entry 3 of list \"bob\""), "{error}");
    }
}
