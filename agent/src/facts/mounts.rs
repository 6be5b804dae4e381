//! Mounted file systems.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;

/// Not asked for their sizes: a server that is down would hold the answer for ever.
const REMOTE_TYPES: [&str; 10] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "afs", "9p"];

pub(super) fn mounts(host: &Host<'_>) -> Value {
    let table = host.read("/proc/mounts").unwrap_or_default();
    table.lines().filter_map(parse).map(|mount| describe(host, &mount)).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    path: String,
    kind: String,
    options: String,
}

/// A line of the mount table, if it is about a device or a server.
fn parse(line: &str) -> Option<Mount> {
    let [device, path, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let is_real = device.starts_with(['/', '\\']) || device.contains(":/");
    (is_real && kind != "none").then(|| Mount {
        device: unescaped(device),
        path: unescaped(path),
        kind: kind.to_owned(),
        options: options.to_owned(),
    })
}

/// The kernel writes blanks as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn describe(host: &Host<'_>, mount: &Mount) -> Value {
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    set("mount", mount.path.as_str().into());
    set("device", mount.device.as_str().into());
    set("fstype", mount.kind.as_str().into());
    set("options", mount.options.as_str().into());
    set("dump", Value::Int(0));
    set("passno", Value::Int(0));
    let is_remote = REMOTE_TYPES.contains(&mount.kind.as_str()) || mount.device.contains(":/");
    if let Some(sizes) = (!is_remote).then(|| rustix::fs::statvfs(mount.path.as_str()).ok()).flatten() {
        set("size_total", (sizes.f_frsize * sizes.f_blocks).into());
        set("size_available", (sizes.f_frsize * sizes.f_bavail).into());
        set("block_size", sizes.f_bsize.into());
        set("block_total", sizes.f_blocks.into());
        set("block_available", sizes.f_bavail.into());
        set("block_used", sizes.f_blocks.saturating_sub(sizes.f_bavail).into());
        set("inode_total", sizes.f_files.into());
        set("inode_available", sizes.f_favail.into());
        set("inode_used", sizes.f_files.saturating_sub(sizes.f_favail).into());
    }
    let device = mount.device.rsplit('/').next().unwrap_or_default();
    set("uuid", uuid(host, device).unwrap_or_else(|| "N/A".to_owned()).into());
    Value::Map(out)
}

/// The file system's UUID, by the links that udev keeps.
pub(super) fn uuid(host: &Host<'_>, device: &str) -> Option<String> {
    let dir = "/dev/disk/by-uuid";
    host.list(dir).into_iter().find(|uuid| host.link_name(&format!("{dir}/{uuid}")).as_deref() == Some(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_and_servers_count() {
        let mount = parse("/dev/sda1 /mnt/a\\040b ext4 rw,relatime 0 0").unwrap();
        assert_eq!((mount.path.as_str(), mount.kind.as_str()), ("/mnt/a b", "ext4"));
        assert!(parse("nas:/export /srv nfs4 rw 0 0").is_some());
        assert!(parse("proc /proc proc rw 0 0").is_none() && parse("").is_none());
    }

    #[test]
    fn backslashes_that_escape_nothing_stay() {
        assert_eq!(unescaped("a\\b\\011c\\"), "a\\b\tc\\");
    }
}
