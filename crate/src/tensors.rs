//! Named arrays in a file: the safetensors format, which Python reads too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::kernel::real::Real;

/// The contents of a safetensors file: arrays by name, and metadata, a text by key.
#[derive(Debug, Default)]
pub struct Tensors {
    arrays: BTreeMap<String, Tensor>,
    /// The metadata, in the order of its keys.
    pub metadata: BTreeMap<String, String>,
}

/// An array of a file. You can read its numbers if it is float32 or float64; of other types you learn the type and the shape.
#[derive(Debug)]
pub struct Tensor {
    /// The lengths of the array's dimensions, row-major; empty for a single number.
    pub shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

/// The key under which the format keeps its metadata, and so no name of a tensor.
const METADATA: &str = "__metadata__";

/// The longest header that the format allows, in bytes.
const MAX_HEADER_LEN: usize = 100_000_000;
/// Bytes of a header's length, of which the length itself is a multiple.
const UNIT: usize = 8;

fn dtype<T: Real>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    numbers.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes, purpose: "tensors" })?;
    Ok(numbers)
}

/// A float16, which every float32 can be: the bits at their places there, whose exponent then is 112 too small.
fn from_float16(bits: u16) -> f32 {
    let [sign, rest] = [bits & 0x8000, bits & 0x7fff].map(u32::from);
    let size = match rest {
        0x7c00.. => f32::from_bits(0x7f80_0000 | (rest & 0x03ff) << 13),
        _ => f32::from_bits(rest << 13) * 2.0_f32.powi(112),
    };
    f32::from_bits(size.to_bits() | sign << 16)
}

/// A bfloat16: the first half of a float32.
fn from_bfloat16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

impl Tensor {
    /// The number type of the array: "float32", "float64", or for others the name in the format, such as "I64".
    pub fn dtype(&self) -> String {
        match self.dtype {
            Dtype::F32 => f32::DTYPE.into(),
            Dtype::F64 => f64::DTYPE.into(),
            other => other.to_string(),
        }
    }

    /// A copy of the array's numbers, row-major.
    ///
    /// # Errors
    /// `File` if the number type of the array is not `T`, `OutOfMemory`.
    pub fn numbers<T: Real>(&self) -> Result<Vec<T>> {
        if self.dtype != dtype::<T>() {
            return Err(Error::File(format!("expected {}, given {}", T::DTYPE, self.dtype())));
        }
        let mut numbers = reserved(self.bytes.len() / size_of::<T>())?;
        numbers.extend(self.bytes.chunks_exact(size_of::<T>()).map(|bytes| match bytes.try_into() {
            Ok(bytes) => T::of(f64::from(f32::from_le_bytes(bytes))),
            Err(_) => T::of(f64::from_le_bytes(bytes.try_into().expect("eight bytes"))),
        }));
        Ok(numbers)
    }
}

impl Tensors {
    /// Adds an array with this name and shape, whose numbers are row-major.
    ///
    /// # Errors
    /// `Shape` if there are not as many numbers as the shape says, `Option` for a name that is taken, `OutOfMemory`.
    pub fn add<T: Real>(&mut self, name: &str, shape: &[usize], numbers: &[T]) -> Result<()> {
        if shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side)) != Some(numbers.len()) {
            return Err(Error::shape("tensors", format!("{name}: numbers for the shape {shape:?}"), numbers.len()));
        }
        if let Some(side) = shape.iter().find(|&&side| u32::try_from(side).is_err()) {
            return Err(Error::shape("tensors", format!("{name}: sides below {}", 1_u64 << 32), side));
        }
        if name == METADATA {
            return Err(Error::option("tensors", format!("another name than {METADATA}"), name));
        }
        let mut bytes = reserved(size_of_val(numbers))?;
        for number in numbers {
            match dtype::<T>() {
                Dtype::F32 => bytes.extend((number.wide() as f32).to_le_bytes()),
                _ => bytes.extend(number.wide().to_le_bytes()),
            }
        }
        self.insert(name.to_owned(), Tensor { shape: shape.to_vec(), dtype: dtype::<T>(), bytes })
    }

    fn insert(&mut self, name: String, tensor: Tensor) -> Result<()> {
        match self.arrays.entry(name) {
            Entry::Occupied(entry) => {
                Err(Error::option("tensors", "a name for each", format!("{} twice", entry.key())))
            }
            Entry::Vacant(entry) => {
                entry.insert(tensor);
                Ok(())
            }
        }
    }

    /// The names of all arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.arrays.keys()
    }

    /// The array with this name.
    ///
    /// # Errors
    /// `File` if there is no array with this name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.arrays.get(name).ok_or_else(|| Error::File(format!("the file has no tensor named {name}")))
    }

    /// The bytes of the file, the same for the same arrays and metadata.
    ///
    /// # Errors
    /// `Option` for more than 100 MB of names and metadata, `OutOfMemory`.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let file = |error: safetensors::SafeTensorError| Error::File(error.to_string());
        let views = self.arrays.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(file)?;
            Ok((name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let texts = self.metadata.iter().map(|(key, text)| 6 * (key.len() + text.len() + 2)).sum::<usize>();
        // The library allocates without asking: see first whether there is room.
        drop(reserved::<u8>(self.arrays.values().map(|tensor| tensor.bytes.len() + 4096).sum::<usize>() + texts)?);
        let mut bytes = safetensors::serialize(views, None).map_err(file)?;
        if !self.metadata.is_empty() {
            // The library writes texts in the order of a hash map, another one each time. Spaces keep what follows in its place.
            let texts = serde_json::to_string(&self.metadata).map_err(|error| Error::File(error.to_string()))?;
            let separator = if self.arrays.is_empty() { "" } else { "," };
            let mut entry = format!("\"{METADATA}\":{texts}{separator}");
            entry.extend(std::iter::repeat_n(' ', entry.len().next_multiple_of(UNIT) - entry.len()));
            let (length, header) = bytes.split_at(UNIT);
            debug_assert_eq!(header.first(), Some(&b'{'));
            let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize + entry.len();
            if length > MAX_HEADER_LEN {
                let expected = format!("names and texts of at most {MAX_HEADER_LEN} bytes in all");
                return Err(Error::option("metadata", expected, length));
            }
            bytes[..UNIT].copy_from_slice(&(length as u64).to_le_bytes());
            bytes.splice(UNIT + 1..UNIT + 1, entry.into_bytes());
        }
        Ok(bytes)
    }

    /// Reads the bytes of a file. float16 and bfloat16 become float32. For other types, such as integers, only type and shape are read.
    ///
    /// # Errors
    /// `File` if the bytes are not a valid safetensors file, `OutOfMemory`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = |error: safetensors::SafeTensorError| Error::File(format!("not a safetensors file: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(file)?;
        let parsed = SafeTensors::deserialize(bytes).map_err(file)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut tensors = Self { metadata, ..Self::default() };
        for (name, view) in parsed.tensors() {
            let (shape, data) = (view.shape().to_vec(), view.data());
            // An empty array may claim any.
            if shape.iter().any(|&side| u32::try_from(side).is_err()) {
                return Err(Error::File(format!("not a safetensors file: {name} has a shape of {shape:?}")));
            }
            let single = |convert: fn(u16) -> f32| {
                let mut bytes = reserved(2 * data.len())?;
                let halves = data.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]]));
                bytes.extend(halves.flat_map(|half| convert(half).to_le_bytes()));
                Ok((Dtype::F32, bytes))
            };
            let (dtype, bytes) = match view.dtype() {
                dtype @ (Dtype::F32 | Dtype::F64) => {
                    let mut bytes = reserved(data.len())?;
                    bytes.extend_from_slice(data);
                    (dtype, bytes)
                }
                Dtype::F16 => single(from_float16)?,
                Dtype::BF16 => single(from_bfloat16)?,
                dtype => (dtype, Vec::new()),
            };
            tensors.insert(name, Tensor { shape, dtype, bytes })?;
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_round_trip() {
        let mut tensors = Tensors::default();
        tensors.add("a", &[2, 2], &[1.0_f32, -0.0, 3.5, f32::MIN_POSITIVE]).unwrap();
        tensors.add("__proto__", &[1], &[0.1_f64]).unwrap();
        tensors.metadata.insert("format".into(), "pt".into());
        let read = Tensors::parse(&tensors.serialize().unwrap()).unwrap();
        let a = read.get("a").unwrap();
        assert_eq!(a.numbers::<f32>().unwrap(), [1.0, -0.0, 3.5, f32::MIN_POSITIVE]);
        assert_eq!((a.shape.as_slice(), a.dtype().as_str()), (&[2, 2][..], "float32"));
        assert_eq!(read.get("__proto__").unwrap().numbers::<f64>().unwrap(), [0.1]);
        assert_eq!(read.metadata["format"], "pt");
        assert_eq!(a.numbers::<f64>().unwrap_err().code(), "FILE");
        assert_eq!(read.get("b").unwrap_err().code(), "FILE");
        assert_eq!(tensors.add("a", &[1], &[1.0_f32]).unwrap_err().code(), "OPTION");
        assert_eq!(tensors.add("__metadata__", &[1], &[1.0_f32]).unwrap_err().code(), "OPTION");
    }

    #[test]
    fn the_same_arrays_and_texts_are_the_same_bytes() {
        let written = |order: &mut dyn Iterator<Item = usize>, arrays: usize| {
            let mut tensors = Tensors::default();
            for index in 0..arrays {
                tensors.add(&format!("a{index}"), &[1], &[index as f32]).unwrap();
            }
            for index in order {
                tensors.metadata.insert(format!("key {index}"), format!("\"text\" {}", "ä".repeat(index)));
            }
            tensors.serialize().unwrap()
        };
        for arrays in [0, 3] {
            for texts in 0..9 {
                let bytes = written(&mut (0..texts), arrays);
                assert_eq!(bytes, written(&mut (0..texts).rev(), arrays));
                assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
                let read = Tensors::parse(&bytes).unwrap();
                assert_eq!((read.names().count(), read.metadata.len()), (arrays, texts));
                assert!(
                    read.metadata.iter().all(|(key, text)| key.starts_with("key ") && text.starts_with("\"text\" "))
                );
            }
        }
        let mut tensors = Tensors::default();
        tensors.metadata.insert("long".into(), " ".repeat(MAX_HEADER_LEN));
        assert_eq!(tensors.serialize().unwrap_err().code(), "OPTION");
    }

    #[test]
    fn every_half_is_the_single_that_its_bits_say() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff) / 1024.0);
            let size = match exponent {
                0 => fraction * 2.0_f32.powi(-14),
                31 if fraction > 0.0 => f32::NAN,
                31 => f32::INFINITY,
                _ => (1.0 + fraction) * 2.0_f32.powi(exponent - 15),
            };
            let expected = if bits >= 0x8000 { -size } else { size };
            let given = from_float16(bits);
            assert!(given.to_bits() == expected.to_bits() || given.is_nan() && expected.is_nan(), "{bits:x}: {given}");
        }
    }

    #[test]
    fn halves_become_singles_and_whole_numbers_are_named() {
        let header = r#"{"half":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},
            "brain":{"dtype":"BF16","shape":[2],"data_offsets":[6,10]},
            "count":{"dtype":"I64","shape":[],"data_offsets":[10,18]},
            "flag":{"dtype":"BOOL","shape":[1,2],"data_offsets":[18,20]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        // 1, the least subnormal and the greatest number; 1 and minus infinity.
        bytes.extend([0x3c00_u16, 0x0001, 0x7bff, 0x3f80, 0xff80].map(u16::to_le_bytes).concat());
        bytes.extend([0; 10]);
        let read = Tensors::parse(&bytes).unwrap();
        assert_eq!(read.get("half").unwrap().numbers::<f32>().unwrap(), [1.0, 2.0_f32.powi(-24), 65504.0]);
        assert_eq!(read.get("brain").unwrap().numbers::<f32>().unwrap(), [1.0, f32::NEG_INFINITY]);
        assert_eq!(read.names().collect::<Vec<_>>(), ["brain", "count", "flag", "half"]);
        let flag = read.get("flag").unwrap();
        assert_eq!((flag.shape.as_slice(), flag.dtype().as_str()), (&[1, 2][..], "BOOL"));
        assert_eq!(flag.numbers::<f32>().unwrap_err().code(), "FILE");
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let mut tensors = Tensors::default();
        tensors.add("a", &[2], &[1.0_f32, 2.0]).unwrap();
        let bytes = tensors.serialize().unwrap();
        for end in 0..bytes.len() {
            assert_eq!(Tensors::parse(&bytes[..end]).unwrap_err().code(), "FILE");
        }
        assert!(Tensors::parse(&[255; 16]).is_err());
    }
}
