//! Archives that are refused as a whole.

use super::*;

/// Imports into an empty store, which must stay empty, and returns the reason of the refusal.
fn refused(archive: &[u8]) -> Refusal {
    let house = House::new();
    let error = match house.import(archive) {
        Err(ArchiveError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    assert!(house.is_empty(), "{error}");
    assert!(!error.hint().is_empty());
    let names = std::fs::read_dir(house.dir.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.collect::<Vec<_>>().iter().all(|name| name != "etc"));
    error
}

fn damaged(archive: &[u8], part: &str) {
    match refused(archive) {
        Refusal::Damaged(reason) => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other}"),
    }
}

fn foreign(archive: &[u8], part: &str) {
    match refused(archive) {
        Refusal::Foreign(reason) => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other}"),
    }
}

/// A line of records with a result that has these properties.
fn line(action: &str, kind: &str, outputs: &str, discovered: &str) -> String {
    let key = Digest::of("key");
    format!(
        "{{\"result\":{{\"action\":\"{action}\",\"kind\":\"{kind}\",\"key\":\"{key}\",\
         \"discovered\":[{discovered}],\"failed\":false,\"outputs\":[{outputs}],\"diagnostics\":[],\
         \"duration_ms\":1}}}}\n"
    )
}

fn output(name: &str, content: &str, size: usize) -> String {
    format!("[\"{name}\",\"{}\",{size}]", Digest::of(content))
}

#[test]
fn an_archive_that_is_cut_at_any_byte_is_refused() {
    let archive = House::furnished().exported(&Extent::All);
    let empty = House::new();
    let staging = tempfile::tempdir().unwrap();
    for end in 0..archive.len() {
        match unpack(&archive[..end], staging.path(), LIMIT) {
            Err(ArchiveError::Refused(Refusal::CutOff)) if end > 0 => {}
            Err(ArchiveError::Refused(Refusal::Foreign(reason))) if end == 0 => {
                assert_eq!(reason, "it is empty");
            }
            other => panic!("{end}: {:?}", other.err()),
        }
    }
    assert!(empty.import(&archive).is_ok());
}

#[test]
fn a_changed_bit_is_noticed() {
    let archive = House::furnished().exported(&Extent::All);
    let whole = House::new();
    whole.import(&archive).unwrap();
    let staging = tempfile::tempdir().unwrap();
    for bit in (0..archive.len()).map(|byte| byte * 8 + byte % 7) {
        let mut other = archive.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        // A bit that means nothing to the decoder may differ.
        if let Ok(staged) = unpack(&*other, staging.path(), LIMIT) {
            let house = House::new();
            house.store.import(&staged).unwrap();
            assert!(archive == house.exported(&Extent::All), "bit {bit}");
        }
    }
}

#[test]
fn what_is_no_archive_is_foreign() {
    foreign(b"", "empty");
    foreign(b"some text", "zstd");
    foreign(b"PK\x03\x04", "zstd");
    foreign(&packed(b"some text that is no tar"), "manifest.json");
    foreign(&packed(&[0; 2048]), "manifest.json");
    let mut other = Parts(Vec::new());
    other.push("README.md", b"# Text");
    foreign(&other.packed(), "README.md");
    for text in ["", "[]", "{\"format\":\"other\"}", "{\"format\":1"] {
        let mut other = Parts(Vec::new());
        other.push(MANIFEST, text.as_bytes());
        foreign(&other.packed(), "manifest.json");
    }
    let mut other = Parts::with("", &[]);
    let text = String::from_utf8(other.0[0].1.clone()).unwrap();
    other.0.clear();
    other.push(
        MANIFEST,
        text.replace("clm cache", "another cache").as_bytes(),
    );
    foreign(&other.packed(), "another cache");
}

#[test]
fn another_version_or_platform_is_refused_with_a_reason() {
    let text = String::from_utf8(Parts::with("", &[]).0[0].1.clone()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        let mut parts = Parts(Vec::new());
        parts.push(MANIFEST, text.replace(from, to).as_bytes());
        parts.push(RECORDS, b"");
        refused(&parts.packed())
    };
    let newer = with("\"version\":1", "\"version\":2");
    assert!(
        matches!(newer, Refusal::Version { found: 2, .. }),
        "{newer}"
    );
    // A newer format may have other fields.
    let newer = with("\"version\":1", "\"version\":2,\"more\":true");
    assert!(
        matches!(newer, Refusal::Version { found: 2, .. }),
        "{newer}"
    );
    let schema = format!("\"schema\":{SCHEMA}");
    for other in [SCHEMA - 1, SCHEMA + 1] {
        let refusal = with(&schema, &format!("\"schema\":{other}"));
        assert!(matches!(refusal, Refusal::Version { found, .. } if found == other));
        assert!(refusal.to_string().contains(&other.to_string()));
    }
    let refusal = with(&platform(), "plan9-pdp11");
    assert_eq!(refusal, Refusal::Platform("plan9-pdp11".to_owned()));
}

#[test]
fn entries_that_lead_elsewhere_or_are_no_files_are_refused() {
    let good = Parts::with("", &["one", "two"]);
    assert!(House::new().import(&good.packed()).is_ok());
    for name in [
        "../etc/passwd",
        "/etc/passwd",
        "blobs/../../etc",
        "etc",
        "blobs/x",
        "",
    ] {
        let mut more = good.clone();
        more.push(name, b"x");
        damaged(&more.packed(), "does not name");
        let mut instead = good.clone();
        let header = header(name, 3).as_bytes().to_vec();
        instead.0[2].0 = header;
        damaged(&instead.packed(), "where");
        let mut first = good.clone();
        first.0.swap(0, 2);
        foreign(&first.packed(), "manifest.json");
    }
    use tar::EntryType as Type;
    for kind in [
        Type::Symlink,
        Type::Link,
        Type::Char,
        Type::Block,
        Type::Fifo,
        Type::Directory,
        Type::Continuous,
        Type::GNUSparse,
        Type::GNULongName,
        Type::GNULongLink,
        Type::XHeader,
        Type::XGlobalHeader,
        Type::new(b'?'),
    ] {
        let of_kind = |name: &str, size: u64| {
            let mut header = header(name, size);
            header.set_entry_type(kind);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        for index in 1..good.0.len() {
            let mut parts = good.clone();
            let name = tar::Header::from_byte_slice(&parts.0[index].0)
                .path_bytes()
                .into_owned();
            let name = String::from_utf8(name).unwrap();
            parts.0[index].0 = of_kind(&name, parts.0[index].1.len() as u64);
            refused(&parts.packed());
        }
        let mut before = good.clone();
        before
            .0
            .insert(1, (of_kind("longer", 5), b"a/b/c".to_vec()));
        damaged(&before.packed(), "longer");
        let mut after = good.clone();
        after.0.push((of_kind("last", 0), Vec::new()));
        damaged(&after.packed(), "last");
    }
}

#[test]
fn other_owners_times_and_modes_are_refused() {
    let good = Parts::with("", &["one"]);
    let changes: [fn(&mut tar::Header); 6] = [
        |header| header.set_uid(1000),
        |header| header.set_gid(1000),
        |header| header.set_mtime(1),
        |header| header.set_mode(0o4755),
        |header| header.set_username("root").unwrap(),
        |header| header.as_ustar_mut().unwrap().prefix[0] = b'x',
    ];
    for change in changes {
        let mut parts = good.clone();
        let mut header = header(&name_of(&Digest::of("one")), 3);
        change(&mut header);
        header.set_cksum();
        parts.0[2].0 = header.as_bytes().to_vec();
        refused(&parts.packed());
    }
}

#[test]
fn missing_doubled_and_unordered_entries_are_refused() {
    let good = Parts::with("", &["one", "two", "three"]);
    for index in 1..good.0.len() {
        let mut missing = good.clone();
        missing.0.remove(index);
        refused(&missing.packed());
        let mut doubled = good.clone();
        doubled.0.insert(index, good.0[index].clone());
        refused(&doubled.packed());
    }
    let mut swapped = good.clone();
    swapped.0.swap(2, 3);
    damaged(&swapped.packed(), "where");
    // The manifest itself names one twice.
    let text = String::from_utf8(good.0[0].1.clone()).unwrap();
    let part = |text: &str| {
        format!(
            "{{\"digest\":\"{}\",\"size\":{}}}",
            Digest::of(text),
            text.len()
        )
    };
    assert!(text.contains(&part("one")));
    let mut twice = Parts(Vec::new());
    let named = format!("{},{}", part("one"), part("one"));
    twice.push(MANIFEST, text.replace(&part("one"), &named).as_bytes());
    twice.0.extend_from_slice(&good.0[1..]);
    damaged(&twice.packed(), "twice");
}

#[test]
fn sizes_and_contents_must_be_those_of_the_manifest() {
    let good = Parts::with("", &["one"]);
    let name = name_of(&Digest::of("one"));
    for bytes in ["on", "ones", "", "two"] {
        let mut parts = good.clone();
        parts.0[2] = (
            header(&name, bytes.len() as u64).as_bytes().to_vec(),
            bytes.into(),
        );
        refused(&parts.packed());
        // The header says what the manifest says, but there is more or less.
        parts.0[2].0 = header(&name, 3).as_bytes().to_vec();
        refused(&parts.packed());
    }
    let mut large = good.clone();
    large.0[2].0 = header(&name, u64::MAX).as_bytes().to_vec();
    refused(&large.packed());
    let mut other_records = good.clone();
    other_records.0[1] = (header(RECORDS, 1).as_bytes().to_vec(), b"\n".to_vec());
    damaged(&other_records.packed(), RECORDS);
}

#[test]
fn bombs_are_refused_before_they_unpack() {
    // A manifest that is larger than any.
    let mut parts = Parts(Vec::new());
    parts.0.push((
        header(MANIFEST, 1 << 40).as_bytes().to_vec(),
        vec![b' '; 1 << 20],
    ));
    foreign(&parts.packed(), "manifest.json");
    // One that says how large everything is.
    let text = String::from_utf8(Parts::with("", &["one"]).0[0].1.clone()).unwrap();
    for size in [LIMIT + 1, u64::MAX] {
        let mut parts = Parts(Vec::new());
        let said = format!("\"size\":{size}");
        parts.push(MANIFEST, text.replace("\"size\":3", &said).as_bytes());
        parts.push(RECORDS, b"");
        let refusal = refused(&parts.packed());
        assert_eq!(refusal, Refusal::TooLarge { size, limit: LIMIT });
    }
    // Many zeros at the end, other bytes there, another frame, and bytes behind.
    let good = Parts::with("", &["one"]);
    let mut tar = good.tar();
    tar.resize(tar.len() + (1 << 20), 0);
    damaged(&packed(&tar), "follows its last entry");
    let mut tar = good.tar();
    *tar.last_mut().unwrap() = 1;
    damaged(&packed(&tar), "follows its last entry");
    let mut more = good.packed();
    more.extend_from_slice(&good.packed());
    damaged(&more, "follows its end");
    let mut more = good.packed();
    more.push(0);
    damaged(&more, "follows its end");
    // A window that needs more memory than archives of clm.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(WINDOW_LOG + 3).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&good.tar()).unwrap();
    foreign(&encoder.finish().unwrap(), "memory");
}

#[test]
fn records_that_no_store_would_have_are_refused() {
    let content = "content";
    let fine = output("image.png", content, content.len());
    let input = format!("[\"slides/a\",\"{}\"]", Digest::of("a"));
    let with = |lines: &str| Parts::with(lines, &[content]).packed();
    let good = line("plantuml a.pu", "plantuml", &fine, &input);
    assert_eq!(House::new().import(&with(&good)).unwrap().added, 1);
    let kinds = ["Plantuml", "evil", ""];
    for kind in kinds {
        damaged(&with(&line("a", kind, &fine, &input)), "line 1");
    }
    for name in ["", "a\\u0000b", "a\\nb", "a\\u001b[2J"] {
        damaged(&with(&line(name, "plantuml", &fine, &input)), "no name");
    }
    for name in ["", ".", "..", "../x", "/x", "a/b"] {
        let output = output(name, content, content.len());
        damaged(
            &with(&line("a", "plantuml", &output, &input)),
            "plain file name",
        );
    }
    for (text, size) in [("other", 5), (content, 6), (content, 8)] {
        let output = output("image.png", text, size);
        damaged(
            &with(&line("a", "plantuml", &output, &input)),
            "not in the archive",
        );
    }
    for path in ["../a", "/etc/passwd", "a/../b", "a//b", "./a", "", "C:/a"] {
        let input = format!("[\"{path}\",null]");
        damaged(&with(&line("a", "plantuml", &fine, &input)), "no path");
    }
    let twice = format!("{input},{input}");
    damaged(&with(&line("a", "plantuml", &fine, &twice)), "twice");
    damaged(&with(good.trim_end()), "without an end");
    damaged(&with("\n"), "line 1");
    damaged(&with(&format!("{good}{{}}\n")), "line 2");
    damaged(
        &with(&good.replace("\"failed\":false", "\"failed\":true")),
        "failure",
    );
    damaged(
        &with(&good.replace("\"duration_ms\":1", "\"duration_ms\":18446744073709551615")),
        "",
    );
    damaged(
        &with(&good.replace("\"failed\"", "\"more\":1,\"failed\"")),
        "more",
    );
    let deep = "[".repeat(100_000);
    damaged(
        &with(&good.replace("\"diagnostics\":[", &format!("\"diagnostics\":[{deep}"))),
        "",
    );
}

#[test]
fn an_error_of_the_input_is_no_refusal() {
    struct Broken<'a>(&'a [u8]);
    impl io::Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match io::Read::read(&mut self.0, buffer)? {
                0 => Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32)),
                read => Ok(read),
            }
        }
    }
    let archive = House::furnished().exported(&Extent::All);
    let dir = tempfile::tempdir().unwrap();
    let result = unpack(Broken(&archive[..200]), dir.path(), LIMIT);
    let error = Error::from(result.err().unwrap());
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.diagnostics[0].hint.as_ref().unwrap().contains("disk"),
        "{error}"
    );
}

#[test]
fn more_than_the_disk_has_is_refused_like_a_full_disk() {
    let text = String::from_utf8(Parts::with("", &["one"]).0[0].1.clone()).unwrap();
    let mut parts = Parts(Vec::new());
    let size = format!("\"size\":{}", 1_u64 << 60);
    parts.push(MANIFEST, text.replace("\"size\":3", &size).as_bytes());
    let dir = tempfile::tempdir().unwrap();
    let result = unpack(&*parts.packed(), dir.path(), u64::MAX);
    let error = Error::from(result.err().unwrap());
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.diagnostics[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("free some space"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn no_place_is_written_but_the_directory() {
    let archive = House::furnished().exported(&Extent::All);
    let dir = tempfile::tempdir().unwrap();
    unpack(&*archive, dir.path(), LIMIT).unwrap();
    let names = std::fs::read_dir(dir.path()).unwrap();
    let mut count = 0;
    for entry in names {
        let path = entry.unwrap().path();
        assert!(is_plain_private_file(&path), "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 1 + 3);
}

fn is_plain_private_file(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::symlink_metadata(path).unwrap();
    metadata.is_file() && metadata.permissions().mode() & 0o077 == 0
}
