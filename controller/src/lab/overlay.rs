//! A lab host's own root: an overlay of this machine's, in mount and host name spaces of its own.
//!
//! What a task writes goes into a memory file system that only this agent sees and that is gone when it ends, so plans
//! that install packages or add users are safe to try.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{CWD, Mode};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::thread::UnshareFlags;

/// How the error begins that says that there can be no overlay.
pub(super) const CANNOT: &str = "cannot make the lab host's own root";

/// What `rustle-exec lab-agent` takes besides the agent's own options.
#[derive(Clone, Debug, Default, Args)]
pub struct OverlayArgs {
    /// Folder to mount the host's own root in
    #[arg(long, value_name = "DIR")]
    pub overlay: Option<PathBuf>,
    /// The host name inside it
    #[arg(long, value_name = "NAME", requires = "overlay")]
    pub hostname: Option<String>,
}

/// Moves this process, which must have a single thread, into its own root if asked to.
///
/// # Errors
/// The step that failed.
pub fn enter(args: &OverlayArgs) -> Result<(), String> {
    let Some(dir) = &args.overlay else { return Ok(()) };
    enter_root(dir, args.hostname.as_deref()).map_err(|(step, error)| format!("{CANNOT}: {step}: {error}"))
}

type Step = (&'static str, io::Error);

fn enter_root(dir: &Path, hostname: Option<&str>) -> Result<(), Step> {
    let step = |what| move |error: rustix::io::Errno| (what, io::Error::from(error));
    unshare().map_err(step("unshare"))?;
    if let Some(name) = hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(step("set the host name"))?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(step("make mounts private"))?;
    std::fs::create_dir_all(dir).map_err(|error| ("make the folder", error))?;
    mount("tmpfs", dir, "tmpfs", MountFlags::NOSUID, None).map_err(step("mount memory"))?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| dir.join(name));
    for path in [&upper, &work, &root] {
        rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)).map_err(step("make a folder"))?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    let options = std::ffi::CString::new(options).map_err(|error| ("name the overlay", io::Error::other(error)))?;
    mount("overlay", &root, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(step("mount the overlay"))?;
    for name in ["proc", "sys", "dev"] {
        let target = root.join(name);
        mount_bind_recursive(Path::new("/").join(name), &target).map_err(step("mount /proc, /sys and /dev"))?;
    }
    for name in ["tmp", "run"] {
        mount("tmpfs", root.join(name), "tmpfs", MountFlags::NOSUID, None).map_err(step("mount /tmp and /run"))?;
    }
    keep_readiness_socket(&root).map_err(|error| ("keep the way to tell readiness", error))?;
    change_root(&root).map_err(step("change the root"))
}

/// The agent tells by this socket that it is ready; `/tmp`, where it may be, is a new one in there.
fn keep_readiness_socket(root: &Path) -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from).filter(|path| path.is_absolute()) else {
        return Ok(());
    };
    let inside = root.join(socket.strip_prefix("/").map_err(io::Error::other)?);
    if let Some(folder) = inside.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Elsewhere than in `/tmp` the old root's shows through, and a socket cannot be opened as a file.
    if !inside.try_exists()? {
        std::fs::File::create(&inside)?;
    }
    Ok(mount_bind(&socket, &inside)?)
}

/// The old root is stacked onto the new one's `/` and then let go.
fn change_root(root: &Path) -> rustix::io::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

#[expect(unsafe_code, reason = "unshare(2) has no safe wrapper: with FILES it would break I/O safety")]
fn unshare() -> rustix::io::Result<()> {
    // SAFETY: neither flag touches the table of file descriptors, and the process has a single thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }
}
