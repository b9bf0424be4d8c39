use super::*;

const WAIT: Duration = Duration::from_secs(2);

fn remote(dir: &std::path::Path) -> Remote {
    let options = Options {
        writes: true,
        max_wait: WAIT,
        machine: "here".to_owned(),
        run: None,
    };
    Remote::new(
        &Address::Dir(dir.to_path_buf()),
        Credentials::default(),
        options,
    )
}

fn entry(content: &[u8], discovered: &[(&str, Option<&str>)]) -> Entry {
    let digest = |text: &Option<&str>| text.map(Digest::of);
    Entry {
        kind: crate::events::ActionKind::Html,
        has_failed: false,
        files: vec![SharedFile::new(
            "a.html".to_owned(),
            Digest::of(content),
            content.len() as u64,
        )],
        discovered: discovered
            .iter()
            .map(|(path, text)| ((*path).to_owned(), digest(text)))
            .collect(),
        diagnostics: vec![crate::diagnostic::Diagnostic::warning("careful").at("a.py", Some(3))],
        duration_ms: 1234,
        machine: "there".to_owned(),
        made_ms: 1_700_000_000_123,
        run: Some("https://example.org/7".to_owned()),
    }
}

fn sent(remote: &Remote, key: &Digest, content: &[u8]) -> Entry {
    let mut entry = entry(content, &[("data.csv", Some("1")), ("none", None)]);
    let read = |digest: &Digest| (*digest == Digest::of(content)).then(|| content.to_vec());
    remote.put(key, &mut entry, read).unwrap();
    entry
}

#[test]
fn an_entry_comes_back_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let remote = remote(dir.path());
    let key = Digest::of("key");
    assert_eq!(remote.find(&key), None);
    let entry = sent(&remote, &key, b"page");
    assert_eq!(remote.find(&key).as_ref(), Some(&entry));
    let mut stored = Vec::new();
    let bytes = remote.fetch(
        &entry,
        |_| false,
        |bytes| {
            stored = bytes.to_vec();
            Some(Digest::of(bytes))
        },
    );
    assert_eq!((bytes, &*stored), (Some(4), &b"page"[..]));
    let is_here = remote.fetch(&entry, |digest| *digest == Digest::of("page"), |_| None);
    assert_eq!(is_here, Some(0), "what is here is not fetched");
}

/// An entry is a message that other programs read: the bytes of a fixed one, by an independent encoding of the format.
#[test]
fn the_bytes_of_an_entry_are_those_of_the_format() {
    let mut entry = entry(b"page", &[]);
    entry.files[0].sha = Sha::of(b"page");
    let bytes = entry.encode(&Digest::of("key"));
    let text = String::from_utf8_lossy(&bytes);
    // Field 2, with a path (field 1) and a digest (field 2: 64 digits, and the size 4).
    assert_eq!(&bytes[..2], &[0x12, 78]);
    assert_eq!(&bytes[2..12], b"\x0a\x06a.html\x12\x44");
    assert_eq!(&bytes[12..14], &[0x0a, 64]);
    assert_eq!(&text[14..78], Sha::of(b"page").0);
    assert_eq!(&bytes[78..80], &[0x10, 4]);
    // The exit code 0 is not written; field 5 is the standard output.
    assert_eq!(bytes[80], 0x2a);
}

#[test]
fn what_is_not_right_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let remote = remote(dir.path());
    let key = Digest::of("key");
    let entry = sent(&remote, &key, b"page");
    let content = dir.path().join(entry.files[0].content().path());
    let store = |bytes: &[u8]| Some(Digest::of(bytes));
    for damage in [&b"pagf"[..], b"page and more", b"", b"pag"] {
        std::fs::write(&content, damage).unwrap();
        assert_eq!(remote.fetch(&entry, |_| false, store), None);
        // A success between them, so that the failures are not counted together.
        assert!(remote.find(&key).is_some());
    }
    std::fs::remove_file(&content).unwrap();
    assert_eq!(remote.fetch(&entry, |_| false, store), None);
    // Another entry under this key.
    let other = Digest::of("other");
    let from = dir.path().join(Name::Action(key).path());
    std::fs::copy(&from, dir.path().join(Name::Action(other).path())).unwrap();
    assert_eq!(remote.find(&other), None);
    for damage in [&b""[..], b"garbage", &std::fs::read(&from).unwrap()[..40]] {
        std::fs::write(&from, damage).unwrap();
        let fresh = self::remote(dir.path());
        assert_eq!(fresh.find(&key), None);
    }
}

#[test]
fn names_that_are_paths_are_refused() {
    let mut entry = entry(b"page", &[]);
    entry.files[0].sha = Sha::of(b"page");
    for name in ["../a", "/a", "a/b", "", ".", ".."] {
        entry.files[0].name = name.to_owned();
        let bytes = entry.encode(&Digest::of("key"));
        assert!(Entry::decode(&bytes, &Digest::of("key")).is_err(), "{name}");
    }
}

#[test]
fn the_first_result_of_a_key_stays_unless_its_files_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let remote = remote(dir.path());
    let key = Digest::of("key");
    let first = sent(&remote, &key, b"first");
    let upload = |content: &'static [u8]| {
        let uploads = Uploads::new(remote.clone(), move |_| Some(content.to_vec()));
        let mut entry = entry(content, &[("none", None), ("data.csv", Some("1"))]);
        entry.machine = "another".to_owned();
        uploads.add(Upload { key, entry });
        uploads.finish(Duration::from_secs(60));
        uploads.counts().results
    };
    assert_eq!(upload(b"second"), 0);
    assert_eq!(remote.find(&key), Some(first.clone()));
    std::fs::remove_file(dir.path().join(first.files[0].content().path())).unwrap();
    assert_eq!(upload(b"second"), 1);
    assert_eq!(remote.find(&key).unwrap().machine, "another");
}

#[test]
fn a_directory_that_is_not_there_is_a_problem_and_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let remote = remote(&gone);
    for _ in 0..3 {
        assert_eq!(remote.find(&Digest::of("key")), None);
    }
    assert!(matches!(remote.take_trouble(), Some(Trouble::Broken(_))));
    assert!(!gone.exists());
}

#[test]
fn other_contents_of_discovered_files_are_another_key() {
    let key = Digest::of("key");
    let one = next_key(&key, &[("a", Some(Digest::of("1")))]);
    let all = [
        one,
        next_key(&key, &[("a", Some(Digest::of("2")))]),
        next_key(&key, &[("a", None)]),
        next_key(&key, &[]),
        next_key(&Digest::of("other"), &[("a", Some(Digest::of("1")))]),
    ];
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(next_key(&key, &[("a", Some(Digest::of("1")))]), one);
}
