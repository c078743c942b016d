//! The machine that was measured on.
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};

/// A stop that is longer is counted.
const STOP: Duration = Duration::from_millis(5);

/// Cores, kernel and file system in a line.
pub(super) fn describe(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, name)| name);
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    format!(
        "{cores} cores ({model}), Linux {}, {}",
        kernel.trim(),
        file_system(&mounts, directory)
    )
}

/// The type of the file system whose mount point is the longest above the path.
fn file_system<'a>(mounts: &'a str, path: &Path) -> &'a str {
    let mut best = ("", "unknown file system");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if path.starts_with(point) && point.len() >= best.0.len() {
            best = (point, kind);
        }
    }
    best.1
}

/// Microseconds, the median of a write of 256 B and fdatasync(2) on it, into space that is already there.
pub(super) fn fdatasync_us(directory: &Path) -> Result<f64> {
    const COUNT: usize = 400;
    const BYTES: usize = 256;
    let path = directory.join("fdatasync");
    let file = fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.write_all_at(&vec![0; COUNT * BYTES], 0)?;
    file.sync_all()?;
    let mut micros = Vec::with_capacity(COUNT);
    for at in 0..COUNT {
        file.write_all_at(&[1; BYTES], (at * BYTES) as u64)?;
        let started = Instant::now();
        file.sync_data()?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(&path)?;
    micros.sort_by(f64::total_cmp);
    Ok(micros[COUNT / 2])
}

/// How the machine stands still by itself when all its cores are busy, as one that gets no more than its share of a host does:
/// a thread for each core that only reads the clock, and when none of them was at it for 5 ms.
pub(super) fn stops() -> String {
    const SECONDS: u64 = 5;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (begin, length) = (Instant::now(), Duration::from_secs(SECONDS));
    let gaps: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| gaps(begin, length)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let stops = common(&gaps);
    let longest = stops.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e3;
    format!(
        "all cores busy with nothing else for {SECONDS} s, the machine stopped them all at once {} times for over 5 ms, \
         {longest:.1} ms at most",
        stops.len()
    )
}

/// When, since `begin`, a thread that only reads the clock did not come to it.
fn gaps(begin: Instant, length: Duration) -> Vec<Range<Duration>> {
    let mut gaps = Vec::new();
    let mut last = begin.elapsed();
    while last < length {
        let now = begin.elapsed();
        if now - last > STOP {
            gaps.push(last..now);
        }
        last = now;
    }
    gaps
}

/// What of the gaps of one thread lies in gaps of all others as well.
fn common(threads: &[Vec<Range<Duration>>]) -> Vec<Duration> {
    let Some((first, others)) = threads.split_first() else {
        return Vec::new();
    };
    let within = |gap: &Range<Duration>, other: &Vec<Range<Duration>>| {
        let overlaps = other
            .iter()
            .map(|it| gap.start.max(it.start)..gap.end.min(it.end));
        overlaps.max_by_key(|it| it.end.saturating_sub(it.start))
    };
    let common = first.iter().filter_map(|gap| {
        let mut others = others.iter();
        others.try_fold(gap.clone(), |gap, other| within(&gap, other))
    });
    let lengths = common.map(|gap| gap.end.saturating_sub(gap.start));
    lengths.filter(|length| *length > STOP).collect()
}

/// Writes all files out and drops those below a directory from the page cache. What a process has mapped stays there.
pub(super) fn uncache(dir: &Path) -> Result<()> {
    rustix::fs::sync();
    drop_below(dir)
}

fn drop_below(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            drop_below(&path)?;
            continue;
        }
        match fs::File::open(&path) {
            Ok(file) => fadvise(&file, 0, None, Advice::DontNeed)?,
            // A server that runs replaces files.
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(())
}

/// Files and sockets that a process has open.
pub(super) fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Resident memory of a process in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most it ever was.
pub(super) fn peak_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, name: &'static str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/home/x")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/tmp/x/y")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx")), "ext4");
        assert_eq!(file_system("", Path::new("/")), "unknown file system");
    }

    #[test]
    fn files_below_a_directory_are_dropped_and_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let file = dir.path().join("a/b");
        fs::write(&file, "content").unwrap();
        uncache(dir.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"content");
        assert!(uncache(&dir.path().join("c")).is_err());
    }

    #[test]
    fn the_machine_stands_still_when_all_its_cores_do() {
        let ms = Duration::from_millis;
        let gaps = |spans: &[(u64, u64)]| -> Vec<_> {
            spans.iter().map(|(from, to)| ms(*from)..ms(*to)).collect()
        };
        let first = gaps(&[(0, 20), (30, 40), (50, 60), (70, 99)]);
        let second = gaps(&[(10, 32), (56, 90)]);
        assert_eq!(common(&[first.clone(), second.clone()]), [ms(10), ms(20)]);
        assert_eq!(common(&[first, second, gaps(&[(72, 80)])]), [ms(8)]);
        assert!(common(&[gaps(&[(0, 20)]), gaps(&[])]).is_empty());
    }

    #[test]
    fn our_own_memory() {
        assert!(resident_mib(std::process::id()).unwrap() > 0.5);
    }
}
