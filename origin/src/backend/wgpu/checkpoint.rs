//! A model folder's `safetensors` files, read tensor by tensor: what is in memory at a time is one tensor, not the model.
//!
//! Files are not mapped into memory: a file that changes under a map is undefined behaviour, and each byte is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use super::family::refusal;
use crate::backend::BackendError;

/// All tensors of a model in one file.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Which of several files has which.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The format's own limit.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Most files that an index may name.
const FILES_MAX: usize = 1_024;
/// How many names an error lists.
const NAMES_LISTED_MAX: usize = 5;
/// What old exports have beside the weights and can be worked out.
const WORKED_OUT: &str = "rotary_emb.inv_freq";

/// All tensors of a model by name.
#[derive(Debug)]
pub struct Checkpoint {
    file: &'static str,
    files: Vec<OpenFile>,
    tensors: BTreeMap<String, Place>,
    taken: BTreeSet<String>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
}

#[derive(Debug)]
struct Place {
    file: usize,
    info: TensorInfo,
    offset_bytes: u64,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder's `model.safetensors`, or the files that its index names, and reads what is in them.
    ///
    /// # Errors
    /// When a file is missing or broken.
    pub fn open(model_dir: &Path) -> Result<Self, BackendError> {
        let index = model_dir.join(INDEX_FILE);
        let file = if index.is_file() { INDEX_FILE } else { SINGLE_FILE };
        let mut checkpoint = Self { file, files: Vec::new(), tensors: BTreeMap::new(), taken: BTreeSet::new() };
        if file == SINGLE_FILE {
            checkpoint.add(model_dir.join(SINGLE_FILE))?;
            return Ok(checkpoint);
        }
        let broken = |error: &dyn ToString| refusal(format!("{}: {}", index.display(), error.to_string()));
        let content = std::fs::read(&index).map_err(|error| broken(&error))?;
        let Index { weight_map } = serde_json::from_slice(&content).map_err(|error| broken(&error))?;
        let names: BTreeSet<&String> = weight_map.values().collect();
        if names.len() > FILES_MAX || names.iter().any(|name| name.contains(['/', '\\'])) {
            return Err(broken(&"it names too many files, or files elsewhere"));
        }
        names.into_iter().try_for_each(|name| checkpoint.add(model_dir.join(name)))?;
        match weight_map.keys().find(|name| !checkpoint.tensors.contains_key(*name)) {
            Some(name) => Err(broken(&format!("{name} is in none of the files"))),
            None => Ok(checkpoint),
        }
    }

    /// The one file, or the index of several.
    #[must_use]
    pub const fn file(&self) -> &'static str {
        self.file
    }

    fn add(&mut self, path: PathBuf) -> Result<(), BackendError> {
        let broken = |error: io::Error| refusal(format!("{}: {error}", path.display()));
        let mut file = File::open(&path).map_err(broken)?;
        let (metadata, data_begins) = header(&mut file).map_err(broken)?;
        let number = self.files.len();
        for (name, info) in metadata.tensors() {
            let offset_bytes = data_begins + info.data_offsets.0 as u64;
            self.tensors.insert(name, Place { file: number, info: info.clone(), offset_bytes });
        }
        self.files.push(OpenFile { path, file });
        Ok(())
    }

    /// Is there such a tensor?
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor's numbers, row by row, as 32-bit floats.
    ///
    /// # Errors
    /// When it is missing, has another shape, is neither f32 nor f16 nor bf16, or cannot be read; the message names it.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BackendError> {
        self.take_rows(name, shape, 0..shape.first().copied().unwrap_or(1))
    }

    /// Some rows of a tensor whose whole shape is `shape`.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_rows(
        &mut self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Vec<f32>, BackendError> {
        let place = self.tensors.get(name).ok_or_else(|| refusal(format!("tensor {name} is missing")))?;
        if place.info.shape != shape {
            let found = &place.info.shape;
            return Err(refusal(format!("tensor {name} has shape {found:?}; config.json asks for {shape:?}")));
        }
        let OpenFile { path, file } = &mut self.files[place.file];
        let (begin, end) = place.info.data_offsets;
        let row_bytes = (end - begin) / shape.first().copied().unwrap_or(1).max(1);
        let mut bytes = vec![0; row_bytes * rows.len()];
        let offset_bytes = place.offset_bytes + (row_bytes * rows.start) as u64;
        let read = file.seek(SeekFrom::Start(offset_bytes)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| refusal(format!("{}: tensor {name}: {error}", path.display())))?;
        let numbers = floats(place.info.dtype, &bytes);
        self.taken.insert(name.to_owned());
        numbers.ok_or_else(|| {
            refusal(format!("tensor {name} is {:?}; f32, f16 and bf16 can be read", place.info.dtype))
        })
    }

    /// The end: everything must have been of use. A head that repeats the embedding may be left over when `tied_head`.
    ///
    /// # Errors
    /// Names what is left, because a model with more in it than is computed would be computed wrongly.
    pub fn finish(self, tied_head: bool) -> Result<(), BackendError> {
        let may_be_left = |name: &str| name.ends_with(WORKED_OUT) || (tied_head && name == "lm_head.weight");
        let left = self.tensors.keys().filter(|name| !self.taken.contains(*name) && !may_be_left(name));
        let left: Vec<&str> = left.map(String::as_str).collect();
        if left.is_empty() {
            return Ok(());
        }
        let listed = left.iter().take(NAMES_LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
        Err(refusal(format!("{} tensors are in the files that this family has no use for: {listed}", left.len())))
    }
}

/// Reads a file's header and checks that what it describes fills the rest of the file; and where that rest begins.
fn header(file: &mut File) -> io::Result<(Metadata, u64)> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Err(io::Error::other("its header is too long to be one"));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    let metadata: Metadata = serde_json::from_slice(&text).map_err(io::Error::other)?;
    let data_begins = length + 8;
    if file.metadata()?.len() != data_begins + metadata.data_len() as u64 {
        return Err(io::Error::other("it is shorter or longer than its header says"));
    }
    Ok((metadata, data_begins))
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, quads) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
    match dtype {
        Dtype::F32 => Some(quads.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Some(pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn write(path: &Path, tensors: &[(&str, Dtype, Vec<usize>, &[u8])]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            ((*name).to_owned(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, path).unwrap();
    }

    const ONE_AND_HALF: [u8; 4] = [0x00, 0x3c, 0x00, 0x38];
    const ONE_AND_HALF_BF16: [u8; 4] = [0x80, 0x3f, 0x00, 0x3f];

    #[test]
    fn numbers_of_every_width_come_out_of_one_file_or_of_several() {
        let folder = tempfile::tempdir().unwrap();
        let whole = 1.0f32.to_le_bytes();
        write(&folder.path().join(SINGLE_FILE), &[("a", Dtype::F32, vec![1], &whole)]);
        assert_eq!(Checkpoint::open(folder.path()).unwrap().take("a", &[1]).unwrap(), [1.0]);
        write(&folder.path().join("one"), &[("b", Dtype::F16, vec![1, 2], &ONE_AND_HALF)]);
        write(&folder.path().join("two"), &[("c", Dtype::BF16, vec![2], &ONE_AND_HALF_BF16)]);
        std::fs::write(folder.path().join(INDEX_FILE), r#"{"weight_map": {"b": "one", "c": "two"}}"#).unwrap();
        let mut checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.take("b", &[1, 2]).unwrap(), [1.0, 0.5]);
        assert_eq!(checkpoint.take("c", &[2]).unwrap(), [1.0, 0.5]);
        assert_eq!(checkpoint.take_rows("c", &[2], 1..2).unwrap(), [0.5]);
        checkpoint.finish(false).unwrap();
    }

    #[test]
    fn what_is_missing_misshapen_left_over_or_of_another_kind_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let tensors = [
            ("layer.weight", Dtype::F16, vec![1, 2], ONE_AND_HALF.as_slice()),
            ("lm_head.weight", Dtype::I8, vec![4], ONE_AND_HALF.as_slice()),
        ];
        write(&folder.path().join(SINGLE_FILE), &tensors);
        let mut checkpoint = Checkpoint::open(folder.path()).unwrap();
        let mut said = vec![checkpoint.take("absent.weight", &[1]).unwrap_err().to_string()];
        said.push(checkpoint.take("layer.weight", &[2, 1]).unwrap_err().to_string());
        said.push(checkpoint.take("lm_head.weight", &[4]).unwrap_err().to_string());
        assert!(said[0].contains("absent.weight is missing"), "{}", said[0]);
        assert!(said[1].contains("layer.weight has shape [1, 2]"), "{}", said[1]);
        assert!(said[2].contains("lm_head.weight is I8"), "{}", said[2]);
        let left = Checkpoint::open(folder.path()).unwrap().finish(true).unwrap_err().to_string();
        assert!(left.contains("1 tensors") && left.contains("layer.weight"), "{left}");
    }

    #[test]
    fn a_file_that_is_cut_off_or_none_at_all_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SINGLE_FILE);
        assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains(SINGLE_FILE));
        write(&path, &[("a", Dtype::F16, vec![2], &ONE_AND_HALF)]);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Checkpoint::open(folder.path()).is_err(), "{length}");
        }
        std::fs::write(&path, [u8::MAX; 64]).unwrap();
        assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("too long"));
        std::fs::write(folder.path().join(INDEX_FILE), r#"{"weight_map": {"b": "../elsewhere"}}"#).unwrap();
        assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("elsewhere"));
    }
}
