//! The file of a shard as redb sees it: the file itself, and a view of it in which writes stay in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::store_error::RawError;

/// The file of a shard for redb. Its lock outlives the database, so it is held without a gap from before the
/// check.
#[derive(Debug)]
pub(crate) struct LockedFile(pub(crate) Arc<FileBackend>);

impl StorageBackend for LockedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        // redb syncs the new length together with a header that depends on it. A power failure could preserve
        // only the header, and redb rejects such a file.
        self.0.sync_data(false)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        self.0.sync_data(eventual)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// The file of a shard for a check, or for reads while it cannot be written: writes of redb stay in memory.
#[derive(Debug)]
pub(crate) struct DryRunFile {
    file: Arc<FileBackend>,
    changes: Mutex<Changes>,
}

/// The content that the file would have now.
#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the real file is still visible; behind it are zeros.
    visible_len: u64,
    /// The blocks that were written, by number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl DryRunFile {
    /// The size of a block in bytes; unrelated to the pages of redb.
    const BLOCK: u64 = 4096;

    /// The offset of the flags in the header of redb (see "File format" in its docs/design.md), and two of
    /// these: the file was not closed cleanly; the last commit had two phases.
    const FLAGS: u64 = 9;
    const RECOVERY_REQUIRED: u8 = 2;
    const TWO_PHASE_COMMIT: u8 = 4;
    /// The offset of the number of pages per region in the header (four bytes), and the maximum that the
    /// format allows.
    const REGION_PAGES: u64 = 20;
    const MAX_REGION_PAGES: u32 = 1 << 20;

    pub(crate) fn new(file: Arc<FileBackend>) -> Result<Self, RawError> {
        let len = file.len()?;
        let dry_run =
            Self { file, changes: Mutex::new(Changes { len, visible_len: len, blocks: BTreeMap::new() }) };
        // Commits of this program always have two phases (see `durable`). Otherwise redb might choose another
        // commit now than when it opens the file.
        let flags = dry_run.read(Self::FLAGS, 1)?[0];
        if flags & Self::TWO_PHASE_COMMIT == 0 {
            return Err(RawError::damage("its header has no flag for two-phase commits"));
        }
        // redb verifies the checksum of the record of the last commit only on recovery: force a recovery.
        dry_run.write(Self::FLAGS, &[flags | Self::RECOVERY_REQUIRED])?;
        // redb allocates tables for this number of pages before any check: gigabytes, if the number is
        // damaged.
        let pages = dry_run.read(Self::REGION_PAGES, 4)?;
        if pages.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)) > Self::MAX_REGION_PAGES
        {
            return Err(RawError::damage("its header has a region size that is too large"));
        }
        Ok(dry_run)
    }

    /// Reads a range that lies within `changes.len`.
    fn read_range(&self, changes: &Changes, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset + len as u64;
        let visible = changes.visible_len.min(end).saturating_sub(offset) as usize; // at most `len`
        let mut bytes = if visible > 0 { self.file.read(offset, visible)? } else { Vec::new() };
        bytes.resize(len, 0);
        for (number, block) in changes.blocks.range(offset / Self::BLOCK..end.div_ceil(Self::BLOCK)) {
            let start = number * Self::BLOCK;
            let from = start.max(offset);
            let to = (start + Self::BLOCK).min(end);
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        Ok(bytes)
    }

    /// Returns an error for a range beyond the end, before memory is allocated for it: a damaged length may
    /// have any value.
    fn check(changes: &Changes, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= changes.len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl StorageBackend for DryRunFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.lock().len)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let changes = self.changes.lock();
        Self::check(&changes, offset, len)?;
        self.read_range(&changes, offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes.lock();
        changes.len = len;
        changes.visible_len = changes.visible_len.min(len);
        changes.blocks.retain(|number, _| number * Self::BLOCK < len);
        if let Some(last) = changes.blocks.get_mut(&(len / Self::BLOCK)) {
            last[(len % Self::BLOCK) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.lock();
        Self::check(&changes, offset, data.len())?;
        let end = offset + data.len() as u64;
        for number in offset / Self::BLOCK..end.div_ceil(Self::BLOCK) {
            let start = number * Self::BLOCK;
            if !changes.blocks.contains_key(&number) {
                let whole = Self::BLOCK.min(changes.len - start) as usize;
                let mut block = self.read_range(&changes, start, whole)?;
                block.resize(Self::BLOCK as usize, 0);
                changes.blocks.insert(number, block.into());
            }
            let from = start.max(offset);
            let to = (start + Self::BLOCK).min(end);
            if let Some(block) = changes.blocks.get_mut(&number) {
                block[(from - start) as usize..(to - start) as usize]
                    .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
            }
        }
        Ok(())
    }
}
