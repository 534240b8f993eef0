//! The Unix sockets of the control plane: bound where nobody else can reach them, and answered to known users only.
//!
//! Rule A1: the directory is made with mode 0700 and opened first, and everything goes through the open directory. The process has the
//! umask 077 since its first line (`vault::harden_process`), so the socket is never open to others; it is bound under a passing name,
//! which nobody knows, and renamed, so that it takes a stale one's place at once or not at all. A stale socket gives way only if it is a
//! socket, ours, and nobody answers. Rule A2: the kernel's word on the peer's user decides on accept; what a user may do is in
//! [`super::admission`].

use crate::domain::role::Roles;
use crate::limits::ACCEPT_BACK_OFF;
use axum::serve::Listener;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{UnixListener, UnixStream};

/// A bound socket. Dropping it removes its file.
pub struct AdminSocket {
    listener: UnixListener,
    admitted: Vec<u32>,
    file: SocketFile,
}

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user's number.
    pub uid: u32,
    /// Whether it is the user we run as, or root.
    pub trusted: bool,
    /// The name of the token that was shown, once a request was admitted with one.
    pub token: Option<Arc<str>>,
    /// What a session of the dashboard may do; it has no user. `None` on a socket.
    pub seat: Option<Roles>,
}

impl Peer {
    /// A session of the dashboard, opened with the printed token or with one of this name.
    pub fn at_dashboard(token: Option<Arc<str>>, roles: Roles) -> Self {
        // No user has this number (chown(2) takes it for "leave it").
        Self { uid: u32::MAX, trusted: false, token, seat: Some(roles) }
    }
}

/// Our file in the directory, told from a later one of the same name by its inode.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    keeper: Keeper,
}

/// Says whether the socket's name goes with it. It does, unless the socket itself goes on in another process.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<AtomicBool>);

impl Keeper {
    /// The name goes when the socket does.
    pub fn own(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The name stays.
    pub fn leave(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Binds a socket for our own user, root and `allowed_uids`. Must be called on a tokio runtime.
///
/// The mode is 0600. With other users allowed it is 0666, because without the right to write they could not connect; then the
/// check of the peer decides, and the operator opens the directory to them.
///
/// # Errors
/// A sentence with a remedy: the directory is another user's or open to writers, the name is taken by something that is not a
/// socket of ours, somebody answers there, or the kernel refuses.
pub fn bind(path: &Path, allowed_uids: &[u32]) -> io::Result<AdminSocket> {
    let own = UnixStream::pair()?.0.peer_cred()?.uid();
    let name = path.file_name().ok_or_else(|| refused(path, "names no file; give the path of a socket"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory(parent, own)?;
    // Everything below goes through the open directory: it stays this one, whatever happens to the path, and long paths fit.
    let inside = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    make_room(&inside.join(name), path, own)?;
    let passing = inside.join(format!(".igris-{}-{:x}", std::process::id(), fastrand::u32(..)));
    let listener = UnixListener::bind(&passing)?;
    let named = named(&passing, &inside.join(name), mode(allowed_uids));
    let metadata = named.inspect_err(|_| drop(fs::remove_file(&passing)))?;
    let keeper = Keeper(Arc::new(AtomicBool::new(true)));
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino(), keeper };
    Ok(AdminSocket { listener, admitted: [own, 0].iter().chain(allowed_uids).copied().collect(), file })
}

/// Takes over a socket that is bound already: another process's, or one that systemd made. Its name stays when it is dropped, until
/// [`Keeper::own`]. Must be called on a tokio runtime.
///
/// # Errors
/// The name does not belong to this socket (any more), or the kernel refuses.
pub fn adopt(
    listener: std::os::unix::net::UnixListener,
    path: &Path,
    file: Option<(u64, u64)>,
    allowed_uids: &[u32],
) -> io::Result<AdminSocket> {
    let own = UnixStream::pair()?.0.peer_cred()?.uid();
    let metadata = fs::symlink_metadata(path)?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    if !metadata.file_type().is_socket() || file.is_some_and(|file| file != (device, inode)) {
        return Err(refused(path, "is no longer the name of the socket that was handed over; remove it"));
    }
    if file.is_some() {
        fs::set_permissions(path, Permissions::from_mode(mode(allowed_uids)))?;
    }
    listener.set_nonblocking(true)?;
    let keeper = Keeper(Arc::new(AtomicBool::new(false)));
    let file = SocketFile { path: path.to_owned(), device, inode, keeper };
    let admitted = [own, 0].iter().chain(allowed_uids).copied().collect();
    Ok(AdminSocket { listener: UnixListener::from_std(listener)?, admitted, file })
}

fn mode(allowed_uids: &[u32]) -> u32 {
    if allowed_uids.is_empty() { 0o600 } else { 0o666 }
}

/// Gives the socket its mode, then its name: it never has the one without the other.
fn named(passing: &Path, path: &Path, mode: u32) -> io::Result<Metadata> {
    fs::set_permissions(passing, Permissions::from_mode(mode))?;
    fs::rename(passing, path)?;
    fs::symlink_metadata(path)
}

/// Opens the directory, making it when missing. One that exists is taken as it is if nobody else can put files there: changing the
/// mode of a directory that is not ours alone would break others.
fn directory(path: &Path, own: u32) -> io::Result<File> {
    if !path.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    }
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path)?;
    let metadata = directory.metadata()?;
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(refused(path, "belongs to another user; give the admin socket a directory of its own"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused(path, "can be written by others; chmod 700 it, or give the socket a directory of its own"));
    }
    Ok(directory)
}

/// Makes sure that the name is free, or held by a stale socket of ours that the new one may replace.
fn make_room(place: &Path, path: &Path, own: u32) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        return Err(refused(path, "exists and is not a socket; remove it or choose another path"));
    }
    if metadata.uid() != own {
        return Err(refused(path, "is a socket of another user; choose another path"));
    }
    if somebody_answers(place)? {
        return Err(refused(path, "is in use by a running igris; stop it or choose another path"));
    }
    Ok(())
}

/// A full backlog counts as an answer: somebody holds the other end.
fn somebody_answers(place: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(place)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Ok(true),
        },
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, format!("{} {why}", path.display()))
}

// === impl AdminSocket ===

impl AdminSocket {
    /// The same socket for another process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Device and inode of its name.
    pub fn file(&self) -> (u64, u64) {
        (self.file.device, self.file.inode)
    }

    /// Decides over its name, also once it is being served.
    pub fn keeper(&self) -> Keeper {
        self.file.keeper.clone()
    }

    fn admitted(&self, stream: &UnixStream) -> Option<Peer> {
        let uid = stream.peer_cred().ok()?.uid();
        // Our own user is the first of them.
        let trusted = uid == 0 || self.admitted.first() == Some(&uid);
        self.admitted.contains(&uid).then_some(Peer { uid, trusted, token: None, seat: None })
    }
}

impl Listener for AdminSocket {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Otherwise dropped without a word: a stranger learns nothing, not even that this is HTTP.
                    if let Some(peer) = self.admitted(&stream) {
                        return (stream, peer);
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// As the audit log names it.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seat {
            Some(_) => f.write_str("dashboard")?,
            None => write!(f, "uid:{}", self.uid)?,
        }
        self.token.as_ref().map_or(Ok(()), |token| write!(f, " token:{token}"))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.keeper.0.load(Ordering::Acquire) {
            return;
        }
        let ours = |metadata: &Metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| ours(&metadata)) {
            // At worst a stale socket stays, which the next start replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl fmt::Debug for AdminSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSocket").field("path", &self.file.path).field("admitted", &self.admitted).finish()
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
