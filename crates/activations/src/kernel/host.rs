//! Tensors as slices on the host.
//!
//! On flex the slices are the tensors' own memory. Every other backend of the list copies to the host and back.
use burn::{
    backend::{
        Backend, read_sync,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{DType, Shape, TensorData},
};
use half::{bf16, f16};

/// A backend whose tensors can be read on the host.
pub(crate) trait HostBackend: Backend {
    /// The values of a float tensor.
    fn floats(x: FloatTensor<Self>) -> HostTensor {
        HostTensor::Data(read_sync(Self::float_into_data(x)).expect("the device returns its values"))
    }
    /// The values of an int tensor.
    fn ints(x: IntTensor<Self>) -> HostTensor {
        HostTensor::Data(read_sync(Self::int_into_data(x)).expect("the device returns its values"))
    }
    /// The values of a bool tensor.
    fn bools(x: BoolTensor<Self>) -> HostTensor {
        HostTensor::Data(read_sync(Self::bool_into_data(x)).expect("the device returns its values"))
    }
}

/// A tensor whose values lie in host memory, row-major and without gaps.
#[derive(Debug)]
pub(crate) enum HostTensor {
    /// A flex tensor, as it is.
    #[cfg(feature = "flex")]
    Flex(burn_flex::FlexTensor),
    /// A copy.
    Data(TensorData),
}

#[cfg(feature = "flex")]
impl HostBackend for burn::backend::Flex {
    fn floats(x: FloatTensor<Self>) -> HostTensor {
        HostTensor::Flex(x.to_contiguous())
    }
    fn ints(x: IntTensor<Self>) -> HostTensor {
        HostTensor::Flex(x.to_contiguous())
    }
    fn bools(x: BoolTensor<Self>) -> HostTensor {
        HostTensor::Flex(x.to_contiguous())
    }
}

#[cfg(feature = "ndarray")]
#[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
impl HostBackend for burn::backend::NdArray {}

macro_rules! slice_of {
    ($name:ident, $t:ty) => {
        fn $name(&self) -> &[$t] {
            match self {
                #[cfg(feature = "flex")]
                Self::Flex(tensor) => tensor.storage(),
                Self::Data(data) => data.as_slice().expect("the dtype was matched"),
            }
        }
    };
}

impl HostTensor {
    slice_of!(f32, f32);
    slice_of!(f64, f64);
    slice_of!(f16, f16);
    slice_of!(bf16, bf16);
    slice_of!(i32, i32);
    slice_of!(i64, i64);

    pub(crate) fn dtype(&self) -> DType {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex(tensor) => tensor.dtype(),
            Self::Data(data) => data.dtype(),
        }
    }

    /// The values as places in a row; negative ones become `usize::MAX`.
    pub(crate) fn places(self) -> Vec<usize> {
        let place = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
        match self.dtype() {
            DType::I32 => self.i32().iter().map(|&value| place(value.into())).collect(),
            DType::I64 => self.i64().iter().map(|&value| place(value)).collect(),
            _ => self.data().iter::<i64>().map(place).collect(),
        }
    }

    /// The values as bytes that are 0 for false.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match (self.dtype(), &self) {
            #[cfg(feature = "flex")]
            (DType::Bool(burn::tensor::BoolStore::Native | burn::tensor::BoolStore::U8), Self::Flex(tensor)) => {
                tensor.storage::<u8>().to_vec()
            }
            _ => self.data().iter::<bool>().map(u8::from).collect(),
        }
    }

    /// The values as data that owns them: without a copy, if nothing else holds this memory.
    pub(crate) fn data(self) -> TensorData {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex(tensor) => tensor.into_data(),
            Self::Data(data) => data,
        }
    }
}

/// A stored float type: its slice of a [`HostTensor`].
pub(crate) trait Floats: burn::tensor::Element + Copy + Default + Send + Sync {
    fn slice(tensor: &HostTensor) -> &[Self];
    /// The slice to write to; `None` if another tensor shares this memory.
    fn slice_mut(tensor: &mut HostTensor) -> Option<&mut [Self]>;
}

macro_rules! floats {
    ($($t:ident),+) => {
        $(impl Floats for $t {
            fn slice(tensor: &HostTensor) -> &[Self] {
                tensor.$t()
            }
            fn slice_mut(tensor: &mut HostTensor) -> Option<&mut [Self]> {
                match tensor {
                    #[cfg(feature = "flex")]
                    HostTensor::Flex(tensor) => tensor.try_storage_mut(),
                    HostTensor::Data(data) => data.as_mut_slice().ok(),
                }
            }
        })+
    };
}
floats!(f32, f64, f16, bf16);

/// A tensor of these values.
pub(crate) fn tensor<B: Backend, S: Floats>(
    values: Vec<S>,
    shape: impl Into<Shape>,
    device: &B::Device,
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, shape), device)
}
