//! The safetensors format: the length of a JSON header, the header, the numbers (huggingface.co/docs/safetensors).
use std::io::{BufWriter, Write};

use serde_json::{Map, json};

use super::{Array, Kind};

/// Writes arrays that every reader of safetensors takes.
///
/// # Errors
/// If `out` fails.
pub fn write(out: &mut impl Write, arrays: &[&Array]) -> anyhow::Result<()> {
    let mut arrays = arrays.to_vec();
    // Wide numbers first, so that each stands at a multiple of its width.
    arrays.sort_by_key(|array| std::cmp::Reverse(array.kind.bytes()));
    let (mut header, mut end) = (Map::new(), 0);
    for array in &arrays {
        let kind = match array.kind {
            Kind::F32 => "F32",
            Kind::F64 => "F64",
            Kind::I64 => "I64",
        };
        let start = end;
        end += array.bytes();
        header.insert(array.name.clone(), json!({ "dtype": kind, "shape": array.shape, "data_offsets": [start, end] }));
    }
    let mut header = serde_json::to_string(&header)?;
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    let mut out = BufWriter::new(out);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for array in arrays {
        array.copy_to(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::arrays::tests::some, *};
    use crate::export::What;

    #[test]
    fn the_header_says_where_each_array_stands() {
        let folder = tempfile::tempdir().unwrap();
        let arrays = some(folder.path());
        let chosen: Vec<&Array> = arrays.of(&What::ALL).collect();
        let mut file = Vec::new();
        write(&mut file, &chosen).unwrap();
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(length % 8, 0);
        let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        assert_eq!(header["targets"], json!({ "dtype": "I64", "shape": [3], "data_offsets": [0, 24] }));
        assert_eq!(header["logits"], json!({ "dtype": "F64", "shape": [1, 1], "data_offsets": [24, 32] }));
        assert_eq!(header["block/a"], json!({ "dtype": "F32", "shape": [3, 2], "data_offsets": [32, 56] }));
        let data = &file[8 + length..];
        assert_eq!(data.len(), 56);
        assert_eq!(f64::from_le_bytes(data[24..32].try_into().unwrap()), 0.1);
        assert_eq!(f32::from_le_bytes(data[52..].try_into().unwrap()), 1e-45);
    }
}
