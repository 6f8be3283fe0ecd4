//! Named arrays in a file: the safetensors format, which Python reads too.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::kernel::real::Real;

/// Arrays by name, float32 or float64, with a text for each key of metadata.
#[derive(Debug, Default)]
pub struct Tensors {
    arrays: Vec<(String, Array)>,
    pub metadata: HashMap<String, String>,
}

#[derive(Debug)]
struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn dtype<T: Real>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

impl Tensors {
    /// Adds an array; its length must be that of its shape.
    pub fn add<T: Real>(&mut self, name: &str, shape: &[usize], numbers: &[T]) -> Result<()> {
        if shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side)) != Some(numbers.len()) {
            return Err(Error::shape("tensor", format!("numbers for the shape {shape:?}"), numbers.len()));
        }
        if self.arrays.iter().any(|(other, _)| other == name) {
            return Err(Error::option("name", "a name for each tensor", format!("{name} twice")));
        }
        let bytes = match dtype::<T>() {
            Dtype::F32 => numbers.iter().flat_map(|number| (number.wide() as f32).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|number| number.wide().to_le_bytes()).collect(),
        };
        self.arrays.push((name.to_owned(), Array { dtype: dtype::<T>(), shape: shape.to_vec(), bytes }));
        Ok(())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.iter().map(|(name, _)| &**name)
    }

    /// The array of that name, with its shape.
    pub fn get<T: Real>(&self, name: &str) -> Result<(Vec<T>, &[usize])> {
        let array = self.arrays.iter().find(|(other, _)| other == name).map(|(_, array)| array);
        let array = array.ok_or_else(|| Error::File(format!("the file has no tensor named {name}")))?;
        if array.dtype != dtype::<T>() {
            let given = format!("{:?}", array.dtype);
            return Err(Error::File(format!("{name}: expected {}, given {given}", T::DTYPE)));
        }
        let numbers = array.bytes.chunks_exact(size_of::<T>()).map(|bytes| match bytes.try_into() {
            Ok(bytes) => T::of(f64::from(f32::from_le_bytes(bytes))),
            Err(_) => T::of(f64::from_le_bytes(bytes.try_into().expect("eight bytes"))),
        });
        Ok((numbers.collect(), &array.shape))
    }

    pub fn serialize(&self) -> Result<Vec<u8>> {
        let file = |error: safetensors::SafeTensorError| Error::File(error.to_string());
        let views = self.arrays.iter().map(|(name, array)| {
            Ok((name.as_str(), TensorView::new(array.dtype, array.shape.clone(), &array.bytes).map_err(file)?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, Some(self.metadata.clone())).map_err(file)
    }

    /// Reads a file; arrays of other types than float32 and float64 are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = |error: safetensors::SafeTensorError| Error::File(format!("not a safetensors file: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(file)?;
        let parsed = SafeTensors::deserialize(bytes).map_err(file)?;
        let mut tensors = Self { arrays: Vec::new(), metadata: header.metadata().clone().unwrap_or_default() };
        for (name, view) in parsed.tensors() {
            if !matches!(view.dtype(), Dtype::F32 | Dtype::F64) {
                return Err(Error::File(format!("{name}: expected float32 or float64, given {:?}", view.dtype())));
            }
            let array = Array { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            tensors.arrays.push((name, array));
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
        assert_eq!(read.get::<f32>("a").unwrap(), (vec![1.0, -0.0, 3.5, f32::MIN_POSITIVE], &[2, 2][..]));
        assert_eq!(read.get::<f64>("__proto__").unwrap().0, [0.1]);
        assert_eq!(read.metadata["format"], "pt");
        assert_eq!(read.get::<f64>("a").unwrap_err().code(), "FILE");
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
