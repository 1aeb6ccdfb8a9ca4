//! Small file systems of a test's own: tmpfs, and ext4 in an image on a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The ioctl that cuts the power of an ext4 file system, `EXT4_IOC_SHUTDOWN`.
const SHUTDOWN: &str = "0x8004587d";

/// Whether mounts and loop devices are to be had; says so loudly if not.
pub fn is_possible(test: &str) -> bool {
    let possible = rustix::process::geteuid().is_root()
        && Image::try_new(8 << 20, None).is_some_and(|image| image.point().join("lost+found").exists());
    if !possible {
        eprintln!("SKIPPED {test}: needs root, loop devices, ext4 and mount");
    }
    possible
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("{program} {arguments:?}: {output:?}");
    }
    done
}

/// A tmpfs, unmounted when dropped.
pub struct Tmpfs {
    point: TempDir,
}

impl Tmpfs {
    pub fn new(size: u64) -> Self {
        let point = TempDir::new().unwrap();
        assert!(run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(point.path())]));
        Self { point }
    }

    pub fn point(&self) -> &Path {
        self.point.path()
    }

    pub fn resize(&self, size: u64) {
        assert!(run("mount", &["-o", &format!("remount,size={size}"), text(self.point())]));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(self.point.path());
    }
}

/// An ext4 file system in a sparse file.
pub struct Image {
    point: TempDir,
    device: String,
    mounted: bool,
    _own: Option<TempDir>,
}

impl Image {
    pub fn new(size: u64, on: Option<&Path>) -> Self {
        Self::try_new(size, on).expect("an ext4 image can be mounted")
    }

    /// An image of `size` bytes in the directory `on`, by default in memory if there is room.
    pub fn try_new(size: u64, on: Option<&Path>) -> Option<Self> {
        let memory = Path::new("/dev/shm");
        let own = on.is_none().then(|| if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap());
        let file: PathBuf = on.unwrap_or_else(|| own.as_ref().unwrap().path()).join("image");
        File::create(&file).ok()?.set_len(size).ok()?;
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1,nodiscard", text(&file)]).then_some(())?;
        let output = Command::new("losetup").args(["--find", "--show", text(&file)]).output().ok()?;
        let device = output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())?;
        let mut image = Self { point: TempDir::new().unwrap(), device, mounted: false, _own: own };
        image.try_mount().then_some(image)
    }

    pub fn point(&self) -> &Path {
        self.point.path()
    }

    fn try_mount(&mut self) -> bool {
        self.mounted = run("mount", &["-t", "ext4", "-o", "errors=continue", &self.device, text(self.point.path())]);
        self.mounted
    }

    /// Cuts the power. With flag 2 what was not flushed is gone; with flag 1 names are written out, but content is not.
    pub fn cut(&self, flag: u32) {
        let program = "import fcntl,os,struct,sys\n\
            fd=os.open(sys.argv[1],os.O_RDONLY)\n\
            fcntl.ioctl(fd,int(sys.argv[2],16),struct.pack('I',int(sys.argv[3])))";
        let flag = flag.to_string();
        assert!(run("python3", &["-c", program, text(self.point()), SHUTDOWN, &flag]), "the power is cut");
    }

    /// Takes it up again as after a power cut: the journal is replayed.
    pub fn remount(&mut self) {
        unmount(self.point.path());
        // While another mount namespace (a sandbox that was just started) holds it, a mount would find the dead one.
        let alive = Path::new("/sys/fs/ext4").join(Path::new(&self.device).file_name().unwrap());
        crate::common::eventually("the file system is let go", || !alive.exists());
        assert!(self.try_mount());
    }

    pub fn remount_as(&self, options: &str) -> bool {
        run("mount", &["-o", &format!("remount,{options}"), text(self.point())])
    }

    pub fn is_half_full(&self) -> bool {
        let space = rustix::fs::statvfs(self.point()).unwrap();
        space.f_bavail < space.f_blocks / 2
    }

    /// Removes everything in it.
    pub fn clear(&self) {
        for entry in fs::read_dir(self.point()).unwrap().map(Result::unwrap) {
            let _ = if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.mounted {
            unmount(self.point.path());
        }
        run("losetup", &["--detach", &self.device]);
    }
}

fn unmount(point: &Path) {
    if !run("umount", &[text(point)]) {
        run("umount", &["--lazy", text(point)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
