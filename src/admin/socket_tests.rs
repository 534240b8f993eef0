//! The socket's rules, each on a real socket.

use super::*;
use std::os::unix::fs::symlink;
use tokio::io::AsyncReadExt;

/// A directory of one test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("igris-socket-{}-{:x}", std::process::id(), fastrand::u64(..)));
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn mode(&self, path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").mode() & 0o777
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(outcome: io::Result<AdminSocket>) -> String {
    outcome.expect_err("refused").to_string()
}

#[tokio::test]
async fn a1_directory_and_socket_are_private() {
    let place = Place::new();
    let socket = bind(&place.socket(), &[]).expect("bound");
    assert_eq!(place.mode(&place.0), 0o700);
    assert_eq!(place.mode(&place.socket()), 0o600);
    assert_eq!(fs::read_dir(&place.0).expect("a directory").count(), 1, "no passing name is left");
    drop(socket);
    assert!(!place.socket().exists(), "its file goes with it");
}

#[tokio::test]
async fn a1_a_stale_socket_gives_way_and_a_living_one_does_not() {
    let place = Place::new();
    fs::create_dir(&place.0).expect("made");
    fs::set_permissions(&place.0, Permissions::from_mode(0o700)).expect("set");
    // std leaves the file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(place.socket()).expect("bound"));
    let living = bind(&place.socket(), &[]).expect("the stale one gave way");
    let sentence = refusal(bind(&place.socket(), &[]));
    assert!(sentence.contains("in use by a running igris"), "{sentence}");
    drop(living);
}

#[tokio::test]
async fn a1_whatever_else_holds_the_name_stays() {
    let place = Place::new();
    fs::create_dir(&place.0).expect("made");
    fs::set_permissions(&place.0, Permissions::from_mode(0o700)).expect("set");
    fs::write(place.socket(), b"precious").expect("written");
    assert!(refusal(bind(&place.socket(), &[])).contains("not a socket"));
    assert_eq!(fs::read(place.socket()).expect("read"), b"precious");
    fs::remove_file(place.socket()).expect("removed");
    symlink("/dev/null", place.socket()).expect("linked");
    assert!(refusal(bind(&place.socket(), &[])).contains("not a socket"));
    fs::set_permissions(&place.0, Permissions::from_mode(0o777)).expect("set");
    assert!(refusal(bind(&place.socket(), &[])).contains("written by others"));
}

#[tokio::test]
async fn a1_a_socket_that_was_replaced_is_not_removed() {
    let place = Place::new();
    let old = bind(&place.socket(), &[]).expect("bound");
    fs::remove_file(place.socket()).expect("removed");
    let new = bind(&place.socket(), &[]).expect("bound again");
    drop(old);
    assert!(place.socket().exists(), "the file is the new one's");
    drop(new);
}

#[tokio::test]
async fn a2_only_listed_users_are_let_in() {
    let place = Place::new();
    let mut socket = bind(&place.socket(), &[4_242]).expect("bound");
    assert_eq!(place.mode(&place.socket()), 0o666, "others must be able to knock");
    let own = UnixStream::pair().expect("a pair").0.peer_cred().expect("known").uid();
    assert!(socket.admitted.contains(&0) && socket.admitted.contains(&own) && socket.admitted.contains(&4_242));
    // As if we were none of them.
    socket.admitted.retain(|uid| *uid != own);
    let accepting = tokio::spawn(async move { socket.accept().await });
    let mut stranger = UnixStream::connect(place.socket()).await.expect("connected");
    let mut nothing = [0];
    assert_eq!(stranger.read(&mut nothing).await.expect("closed"), 0, "hung up without a word");
    accepting.abort();
}

#[tokio::test]
async fn a2_our_own_user_is_let_in_and_named() {
    let place = Place::new();
    let mut socket = bind(&place.socket(), &[]).expect("bound");
    let _client = UnixStream::connect(place.socket()).await.expect("connected");
    let (_, peer) = socket.accept().await;
    assert_eq!(peer.to_string(), format!("uid:{}", peer.uid));
}

#[tokio::test]
async fn paths_beyond_the_address_length_work() {
    let place = Place::new();
    let deep = place.0.join("d".repeat(100)).join("e".repeat(100)).join("admin.sock");
    let socket = bind(&deep, &[]).expect("bound");
    assert_eq!(place.mode(&deep), 0o600);
    drop(socket);
}
