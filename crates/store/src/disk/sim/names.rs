//! A simulated disk's directories: names visible, names durable, and the changes between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::content::Content;
use super::{CrashKeep, Random};
use crate::disk::{Entry, Stamp};

/// Absolute and relative paths start from the same root.
const ROOT: u64 = 0;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<Mutex<Content>>),
    Dir(u64),
}

#[derive(Debug)]
pub(super) struct Names {
    dirs: BTreeMap<u64, Dir>,
    next_dir: u64,
    /// Changes that are not durable yet, oldest first.
    pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct Dir {
    visible: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Changes so far.
    changes: i64,
}

/// Atomic: a crash keeps all of it or nothing. Directory, name, what the name then stands for.
type Change = Vec<(u64, String, Option<Node>)>;

impl Default for Names {
    fn default() -> Names {
        Names {
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            next_dir: ROOT + 1,
            pending: Vec::new(),
        }
    }
}

impl Names {
    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for name in names_of(path) {
            let Node::Dir(dir) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = self.dirs[&dir]
                .visible
                .get(&name)
                .ok_or(io::ErrorKind::NotFound)?
                .clone();
        }
        Ok(node)
    }

    pub(super) fn stamp(&self, dir: u64) -> Stamp {
        Stamp {
            // Files have the other half of the numbers.
            number: dir << 1,
            changed: self.dirs[&dir].changes,
        }
    }

    fn find_dir(&self, path: &Path) -> io::Result<u64> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory a path is in, and its last name.
    fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = names_of(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find_dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.find_dir(path)?;
        let entry = |(name, node): (&String, &Node)| match node {
            Node::File(content) => Entry {
                name: name.clone(),
                len: content.lock().len(),
                is_dir: false,
            },
            Node::Dir(_) => Entry {
                name: name.clone(),
                len: 0,
                is_dir: true,
            },
        };
        Ok(self.dirs[&dir].visible.iter().map(entry).collect())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.find_dir(path).is_ok() {
            return Ok(());
        }
        let (dir, name) = self.place(path)?;
        if self.dirs[&dir].visible.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next_dir;
        self.next_dir += 1;
        self.dirs.insert(id, Dir::default());
        self.change(vec![(dir, name, Some(Node::Dir(id)))]);
        Ok(())
    }

    pub(super) fn link(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, Some(node))]);
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        if let (Node::File(_), Ok(Node::Dir(_))) = (&node, self.find(to)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        self.change(vec![
            (from_dir, from_name, None),
            (to_dir, to_name, Some(node)),
        ]);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        for (dir, name, node) in &change {
            let names = self.dirs.entry(*dir).or_default();
            names.changes += 1;
            set(&mut names.visible, name, node);
        }
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find_dir(path)?;
        let (synced, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change: &Change| change.iter().any(|(of, ..)| *of == dir));
        self.pending = pending;
        self.make_durable(synced);
        Ok(())
    }

    /// All names and, by `sync`, all contents, but those in directories that are not `here`.
    pub(super) fn sync_all(
        &mut self,
        here: impl Fn(&Path) -> bool,
        mut sync: impl FnMut(&mut Content),
    ) {
        let mut elsewhere = BTreeSet::new();
        let mut tree = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = tree.pop() {
            for (name, node) in &self.dirs[&dir].visible {
                if let Node::Dir(below) = node {
                    tree.push((*below, path.join(name)));
                }
            }
            if !here(&path) {
                elsewhere.insert(dir);
            }
        }
        let (left, changes) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change: &Change| change.iter().all(|(dir, ..)| elsewhere.contains(dir)));
        self.pending = left;
        self.make_durable(changes);
        let dirs = self.dirs.iter().filter(|(dir, _)| !elsewhere.contains(dir));
        for node in dirs.flat_map(|(_, dir)| dir.visible.values()) {
            if let Node::File(content) = node {
                sync(&mut content.lock());
            }
        }
    }

    fn make_durable(&mut self, changes: Vec<Change>) {
        for (dir, name, node) in changes.into_iter().flatten() {
            set(&mut self.dirs.entry(dir).or_default().durable, &name, &node);
        }
    }

    /// Bytes of disk in use by files that have a name.
    pub(super) fn used(&self) -> u64 {
        let nodes = self.dirs.values().flat_map(|dir| dir.visible.values());
        nodes
            .map(|node| {
                if let Node::File(content) = node {
                    content.lock().used()
                } else {
                    0
                }
            })
            .sum()
    }

    pub(super) fn crash(&self, keep: CrashKeep, random: &mut Random) -> Names {
        let mut left = Names {
            dirs: self.dirs.clone(),
            next_dir: self.next_dir,
            pending: self.pending.clone(),
        };
        if keep != CrashKeep::All {
            left.lose(keep, random);
        }
        left.copy_contents(|content| match keep {
            CrashKeep::All => content.clone(),
            CrashKeep::None => content.crash(0, random),
            CrashKeep::Random => {
                let keep = random.keep();
                content.crash(keep, random)
            }
        });
        left
    }

    fn lose(&mut self, keep: CrashKeep, random: &mut Random) {
        let mut kept = std::mem::take(&mut self.pending);
        let quarters = random.keep();
        match keep {
            CrashKeep::None => kept.clear(),
            // Half the time in order, as a journal would; half the time any subset.
            _ if random.kept(2) => kept.truncate(random.below(kept.len() as u64 + 1) as usize),
            _ => kept.retain(|_| random.kept(quarters)),
        }
        self.make_durable(kept);
        for dir in self.dirs.values_mut() {
            dir.visible = dir.durable.clone();
        }
    }

    /// Gives this its own copy of every file, one copy however many names it has.
    fn copy_contents(&mut self, mut copy: impl FnMut(&Content) -> Content) {
        let mut copies: BTreeMap<u64, Arc<Mutex<Content>>> = BTreeMap::new();
        let in_dirs = self
            .dirs
            .values_mut()
            .flat_map(|dir| dir.visible.values_mut().chain(dir.durable.values_mut()));
        let in_pending = self
            .pending
            .iter_mut()
            .flatten()
            .filter_map(|(_, _, node)| node.as_mut());
        for node in in_dirs.chain(in_pending) {
            if let Node::File(content) = node {
                let original = content.lock();
                let copy = copies
                    .entry(original.id)
                    .or_insert_with(|| Arc::new(Mutex::new(copy(&original))));
                let copy = copy.clone();
                drop(original);
                *content = copy;
            }
        }
    }
}

fn set(names: &mut BTreeMap<String, Node>, name: &str, node: &Option<Node>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node.clone()),
        None => names.remove(name),
    };
}

fn names_of(path: &Path) -> impl Iterator<Item = String> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}
