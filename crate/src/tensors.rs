//! Named arrays in a file: the safetensors format, which Python reads too.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::kernel::real::Real;

/// Arrays by name, float32 or float64, with a text for each key of metadata.
#[derive(Debug, Default)]
pub struct Tensors {
    arrays: Vec<Tensor>,
    places: HashMap<String, usize>,
    pub metadata: HashMap<String, String>,
}

/// A named array.
#[derive(Debug)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

/// The key under which the format keeps its metadata, and so no name of a tensor.
const METADATA: &str = "__metadata__";

fn dtype<T: Real>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    numbers.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes, purpose: "tensors" })?;
    Ok(numbers)
}

impl Tensor {
    /// The name of its number type in the public API.
    pub fn dtype(&self) -> &'static str {
        if self.dtype == Dtype::F32 { f32::DTYPE } else { f64::DTYPE }
    }

    pub fn numbers<T: Real>(&self) -> Result<Vec<T>> {
        if self.dtype != dtype::<T>() {
            return Err(Error::File(format!("{}: expected {}, given {}", self.name, T::DTYPE, self.dtype())));
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
    /// Adds an array; its length must be that of its shape.
    pub fn add<T: Real>(&mut self, name: &str, shape: &[usize], numbers: &[T]) -> Result<()> {
        if shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side)) != Some(numbers.len()) {
            return Err(Error::shape("tensors", format!("{name}: numbers for the shape {shape:?}"), numbers.len()));
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
        self.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype: dtype::<T>(), bytes })
    }

    fn push(&mut self, tensor: Tensor) -> Result<()> {
        if self.places.insert(tensor.name.clone(), self.arrays.len()).is_some() {
            return Err(Error::option("tensors", "a name for each tensor", format!("{} twice", tensor.name)));
        }
        self.arrays.push(tensor);
        Ok(())
    }

    /// All arrays, in the order of the file.
    pub fn all(&self) -> &[Tensor] {
        &self.arrays
    }

    /// The array of that name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let place = self.places.get(name).ok_or_else(|| Error::File(format!("the file has no tensor named {name}")))?;
        Ok(&self.arrays[*place])
    }

    pub fn serialize(&self) -> Result<Vec<u8>> {
        let file = |error: safetensors::SafeTensorError| Error::File(error.to_string());
        let views = self.arrays.iter().map(|tensor| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(file)?;
            Ok((tensor.name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        // The library allocates without asking: see first whether there is room.
        drop(reserved::<u8>(self.arrays.iter().map(|tensor| tensor.bytes.len() + 4096).sum())?);
        safetensors::serialize(views, Some(self.metadata.clone())).map_err(file)
    }

    /// Reads a file; arrays of other types than float32 and float64 are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = |error: safetensors::SafeTensorError| Error::File(format!("not a safetensors file: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(file)?;
        let parsed = SafeTensors::deserialize(bytes).map_err(file)?;
        let mut tensors = Self { metadata: header.metadata().clone().unwrap_or_default(), ..Self::default() };
        for (name, view) in parsed.tensors() {
            if !matches!(view.dtype(), Dtype::F32 | Dtype::F64) {
                return Err(Error::File(format!("{name}: expected float32 or float64, given {:?}", view.dtype())));
            }
            let mut bytes = reserved(view.data().len())?;
            bytes.extend_from_slice(view.data());
            tensors.push(Tensor { name, shape: view.shape().to_vec(), dtype: view.dtype(), bytes })?;
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
        assert_eq!((a.shape.as_slice(), a.dtype()), (&[2, 2][..], "float32"));
        assert_eq!(read.get("__proto__").unwrap().numbers::<f64>().unwrap(), [0.1]);
        assert_eq!(read.metadata["format"], "pt");
        assert_eq!(a.numbers::<f64>().unwrap_err().code(), "FILE");
        assert_eq!(read.get("b").unwrap_err().code(), "FILE");
        assert_eq!(tensors.add("a", &[1], &[1.0_f32]).unwrap_err().code(), "OPTION");
        assert_eq!(tensors.add("__metadata__", &[1], &[1.0_f32]).unwrap_err().code(), "OPTION");
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
