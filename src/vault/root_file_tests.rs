//! Every state that a crash can leave around a root key, and what becomes of it.

use super::*;
use crate::vault::OsEntropy;

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-root-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn source(&self) -> RootSource {
        RootSource::File(self.0.join("root.key"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("listed");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is(wanted: &RootKey) -> impl FnMut(&RootKey) -> Result<bool, VaultError> {
    let wanted = *wanted.bytes();
    move |key| Ok(*key.bytes() == wanted)
}

#[test]
fn a_cut_replacement_ends_with_the_key_that_opens_the_store() {
    for committed in [false, true] {
        let mut steps = 0;
        loop {
            let home = Home::new(&format!("cut-{committed}"));
            let source = home.source();
            let old = source.make(&mut OsEntropy).expect("made");
            cut::after(steps);
            let new = match committed {
                true => {
                    cut::end();
                    let new = source.prepare(&mut OsEntropy).expect("prepared");
                    cut::after(steps);
                    let _ = source.replace();
                    new
                }
                false => {
                    source.prepare(&mut OsEntropy).unwrap_or_else(|_| RootKey::random(&mut OsEntropy).expect("one"))
                }
            };
            let reached = cut::end();
            let right = if committed { &new } else { &old };
            // The settling is cut as well, as often as it takes.
            for cuts in 0..12 {
                cut::after(cuts);
                let _ = source.settle(&mut is(right));
                cut::end();
            }
            source.settle(&mut is(right)).expect("settled");
            let kept = source.load().expect("readable").expect("there");
            assert_eq!(kept.bytes(), right.bytes(), "committed: {committed}, after {steps} steps");
            assert_eq!(home.names(), ["root.key"], "committed: {committed}, after {steps} steps");
            assert_eq!(fs::metadata(home.0.join("root.key")).expect("there").mode() & 0o777, 0o400);
            if !reached {
                assert!(steps >= 3, "the steps were counted");
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn where_no_key_opens_the_store_nothing_is_touched() {
    let home = Home::new("wrong");
    let source = home.source();
    source.make(&mut OsEntropy).expect("made");
    source.prepare(&mut OsEntropy).expect("prepared");
    let stranger = RootKey::random(&mut OsEntropy).expect("another");
    let read =
        || (fs::read(home.0.join("root.key")).expect("read"), fs::read(home.0.join("root.key.next")).expect("read"));
    let before = read();
    assert_eq!(source.settle(&mut is(&stranger)).expect("no error"), Settled::Nothing);
    assert_eq!(read(), before);
}

#[test]
fn a_replaced_key_is_overwritten_before_its_name_goes() {
    let home = Home::new("wiped");
    let source = home.source();
    source.make(&mut OsEntropy).expect("made");
    let text = fs::read(home.0.join("root.key")).expect("read");
    // Another name keeps the blocks in sight.
    fs::hard_link(home.0.join("root.key"), home.0.join("witness")).expect("linked");
    source.prepare(&mut OsEntropy).expect("prepared");
    source.replace().expect("replaced");
    let left = fs::read(home.0.join("witness")).expect("read");
    assert_eq!(left.len(), text.len());
    assert!(left.iter().all(|byte| *byte == b'0'), "the old digits are gone");
    assert_ne!(fs::read(home.0.join("root.key")).expect("read"), text);
}

#[test]
fn behind_a_symbolic_link_the_file_is_replaced_and_the_link_stays() {
    let home = Home::new("link");
    fs::create_dir(home.0.join("real")).expect("made");
    RootSource::File(home.0.join("real/key")).make(&mut OsEntropy).expect("made");
    std::os::unix::fs::symlink("real/key", home.0.join("root.key")).expect("linked");
    let new = home.source().prepare(&mut OsEntropy).expect("prepared");
    home.source().replace().expect("replaced");
    assert_eq!(home.source().load().expect("read").expect("there").bytes(), new.bytes());
    assert!(fs::symlink_metadata(home.0.join("root.key")).expect("there").is_symlink());
    assert_eq!(home.names(), ["real", "root.key"]);
}
