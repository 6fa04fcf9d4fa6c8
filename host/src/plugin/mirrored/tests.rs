use proptest::prelude::*;

use super::*;
use crate::plugin::folder::{Found, read};

fn name() -> PluginName {
    "tag".parse().unwrap()
}

fn bundle(component: &str, sidecar: Option<&str>) -> Bundle {
    let signature = Some(format!("signature of {component}"));
    let sidecar = sidecar.map(str::to_owned);
    let beside = Beside { sidecar, component_signature: signature, sidecar_signature: None };
    Bundle::new(component.into(), beside)
}

/// What lies in the folder, but for the records.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_name() != FOLDER);
    files
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect()
}

fn told(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_plugin_is_its_files_and_one_that_is_removed_leaves_nothing_but_what_others_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mirrored = Mirrored::open(folder.path(), "bucket").unwrap();
    fs::write(folder.path().join("other.wasm"), "local").unwrap();
    let first = bundle("one", Some("order = 1"));
    mirrored.install(&name(), &first).unwrap();
    assert!(mirrored.has(&name(), first.sha256(), first.beside()));
    assert_eq!(
        files(folder.path()),
        told(&[
            ("other.wasm", "local"),
            ("tag.wasm", "one"),
            ("tag.toml", "order = 1"),
            ("tag.wasm.minisig", "signature of one")
        ])
    );
    // A version without a sidecar has none.
    let second = bundle("two", None);
    mirrored.install(&name(), &second).unwrap();
    assert!(!mirrored.has(&name(), first.sha256(), first.beside()));
    let after = told(&[
        ("other.wasm", "local"),
        ("tag.wasm", "two"),
        ("tag.wasm.minisig", "signature of two"),
    ]);
    assert_eq!(files(folder.path()), after);
    assert_eq!(fs::read_dir(&mirrored.records).unwrap().count(), 2, "one version is kept");

    assert!(mirrored.remove(&name()).unwrap());
    assert!(!mirrored.remove(&name()).unwrap());
    assert_eq!(files(folder.path()), told(&[("other.wasm", "local")]));
    assert_eq!(fs::read_dir(&mirrored.records).unwrap().count(), 0);
}

#[test]
fn what_somebody_else_put_there_gives_way_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mirrored = Mirrored::open(folder.path(), "bucket").unwrap();
    fs::write(file("tag.wasm"), "mine").unwrap();
    fs::create_dir(file("tag.toml")).unwrap();
    mirrored.install(&name(), &bundle("one", Some("order = 1"))).unwrap();
    assert_eq!(fs::read_to_string(file("tag.wasm.local")).unwrap(), "mine");
    assert!(file("tag.toml.local").is_dir());
    fs::remove_dir(file("tag.toml.local")).unwrap();

    fs::write(file("tag.toml"), "order = 2").unwrap();
    fs::remove_file(file("tag.wasm")).unwrap();
    fs::write(file("tag.toml.minisig"), "a signature").unwrap();
    mirrored.restore();
    let all = told(&[
        ("tag.wasm", "one"),
        ("tag.wasm.local", "mine"),
        ("tag.wasm.minisig", "signature of one"),
        ("tag.toml", "order = 1"),
        ("tag.toml.local", "order = 2"),
        ("tag.toml.minisig.local", "a signature"),
    ]);
    assert_eq!(files(folder.path()), all);
    // Once it is known by its look, too.
    loop {
        mirrored.restore();
        if mirrored.kept()[&name()].looks.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fs::write(file("tag.toml"), "order = 3").unwrap();
    let may = |name: &str| match read(&file(name), true, false, None) {
        Some(Found::Candidate(found)) => mirrored.allows(name.trim_end_matches(".wasm"), &found),
        _ => panic!("{name} is there"),
    };
    fs::write(file("other.wasm"), "local").unwrap();
    assert!(!may("tag.wasm") && may("other.wasm"));
    mirrored.restore();
    assert!(may("tag.wasm"));
    assert_eq!(fs::read_to_string(file("tag.toml")).unwrap(), "order = 1");
}

#[test]
fn a_record_whose_component_is_damaged_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mirrored = Mirrored::open(folder.path(), "bucket").unwrap();
    let one = bundle("one", None);
    mirrored.install(&name(), &one).unwrap();
    fs::write(mirrored.component(one.sha256()), "eno").unwrap();
    let again = Mirrored::open(folder.path(), "bucket").unwrap();
    assert!(!again.has(&name(), one.sha256(), one.beside()));
    // Another bucket's records are not this one's.
    mirrored.install(&name(), &one).unwrap();
    assert!(Mirrored::open(folder.path(), "bucket").unwrap().has(
        &name(),
        one.sha256(),
        one.beside()
    ));
    assert!(!Mirrored::open(folder.path(), "other").unwrap().has(
        &name(),
        one.sha256(),
        one.beside()
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Killed after any number of moves of a change, the next start finishes it, and nothing of
    /// the version before is left beside the new one.
    #[test]
    fn a_change_that_was_cut_off_is_finished_by_the_next_start(
        sidecars in prop::array::uniform2(prop::option::of("[a-z]{1,8}")),
        same_component: bool,
        moved in 0_usize..5,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mirrored = Mirrored::open(folder.path(), "bucket").unwrap();
        let [before, after] = sidecars;
        let old = bundle("one", before.as_deref());
        let new = bundle(if same_component { "one" } else { "two" }, after.as_deref());
        mirrored.install(&name(), &old).unwrap();
        // As `install` does it, up to the kill.
        let record = Record { sha256: new.sha256().to_owned(), beside: new.beside().clone() };
        persist(mirrored.write(new.component()).unwrap(), &mirrored.component(&record.sha256)).unwrap();
        let old_record = mirrored.kept()[&name()].record.clone();
        let mut moves = mirrored.plan(&name(), Some(&old_record), Some(&record)).unwrap();
        persist(mirrored.write(&serde_json::to_vec(&record).unwrap()).unwrap(), &mirrored.record(&name())).unwrap();
        moves.truncate(moved);
        mirrored.carry_out(&name(), moves).unwrap();

        let again = Mirrored::open(folder.path(), "bucket").unwrap();
        again.restore();
        let mut found = files(folder.path());
        found.retain(|name, _| !name.ends_with(".local"));
        let mut wanted = told(&[("tag.wasm", std::str::from_utf8(new.component()).unwrap())]);
        wanted.extend(after.map(|text| ("tag.toml".to_owned(), text)));
        wanted.extend(new.beside().component_signature.clone().map(|text| ("tag.wasm.minisig".to_owned(), text)));
        prop_assert_eq!(found, wanted);
    }
}
