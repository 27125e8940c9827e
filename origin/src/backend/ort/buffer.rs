//! Memory that a graph reads and writes: one allocation, of which parts are bound as tensors of their own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::rc::Rc;

use half::f16;
use ort::AsPointer;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType, Value, ValueTypeMarker};

/// One allocation of elements of one type, in host memory or on the device.
///
/// Only this handle reads and writes it, besides the graph in [`Bindings::run`]. Bindings keep it from being freed.
pub(super) struct Buffer {
    tensor: Rc<DynTensor>,
    allocator: Rc<Allocator>,
    elements: usize,
}

impl Buffer {
    /// `elements` zeros.
    pub(super) fn new(
        allocator: &Rc<Allocator>,
        element_type: TensorElementType,
        elements: usize,
    ) -> ort::Result<Self> {
        let mut tensor = DynTensor::new(allocator, element_type, [elements])?;
        if !tensor.memory_info().is_cpu_accessible() {
            // Host memory comes zeroed. Other memory may hold NaN, and 0 × NaN is NaN even where attention gives no weight.
            DynTensor::new(&Allocator::default(), element_type, [elements])?.copy_into(&mut tensor)?;
        }
        Ok(Self { tensor: Rc::new(tensor), allocator: Rc::clone(allocator), elements })
    }

    /// How many there are.
    pub(super) const fn elements(&self) -> usize {
        self.elements
    }

    /// What they take.
    pub(super) fn bytes(&self) -> u64 {
        self.element_type().byte_size(self.elements).unwrap_or_default() as u64
    }

    /// Of which type.
    pub(super) fn element_type(&self) -> TensorElementType {
        *self.tensor.data_type()
    }

    /// All elements; an error when they are of another type or not in host memory.
    pub(super) fn read<T: PrimitiveTensorElementType>(&self) -> ort::Result<&[T]> {
        Ok(self.tensor.try_extract_tensor::<T>()?.1)
    }

    /// All elements, to be written.
    #[expect(
        unsafe_code,
        reason = "what is bound to a graph can be written between its runs only through its address"
    )]
    pub(super) fn write<T: PrimitiveTensorElementType>(&mut self) -> ort::Result<&mut [T]> {
        let elements = self.read::<T>()?;
        let (start, count) = (elements.as_ptr().cast_mut(), elements.len());
        // SAFETY: `start` and `count` are those of one allocation of T in host memory, checked by `read`. It is freed with
        // the last `Rc`, so not before `self`. Nobody else refers to it: slices of it come from `read` and `write` alone,
        // which borrow `self`, and the other holders of the `Rc` (bindings) never look at it outside `run`.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, count) })
    }

    /// A tensor over `shape` elements from the `first` on, which must not be used after this buffer is freed.
    #[expect(
        unsafe_code,
        reason = "the ort crate has no tensor over a part of another that can be bound without a copy"
    )]
    fn part(&self, first: usize, shape: &[usize]) -> ort::Result<DynTensor> {
        let count: usize = shape.iter().product();
        if first + count > self.elements {
            return Err(ort::Error::new("a part of a buffer would reach over its end"));
        }
        let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        let element_type = self.element_type();
        let bytes = |elements| element_type.byte_size(elements).unwrap_or_default();
        let info = self.tensor.memory_info();
        let mut value = std::ptr::null_mut();
        // SAFETY: the range was checked to lie inside the allocation, which `info` describes; names and shape outlive the
        // call. `Value::from_ptr` takes over the one reference to a value that was just made, and releasing it does not
        // touch the memory that it is over.
        unsafe {
            let start = self.tensor.data_ptr().cast_mut().cast::<u8>().add(bytes(first));
            let status = (ort::api().CreateTensorWithDataAsOrtValue)(
                info.ptr(),
                start.cast(),
                bytes(count),
                shape.as_ptr(),
                shape.len(),
                element_type.into(),
                &raw mut value,
            );
            ort::Error::result_from_status(status)?;
            let value = NonNull::new(value).ok_or_else(|| ort::Error::new("no tensor was made"))?;
            Ok(Value::from_ptr(value, Some(&self.allocator)))
        }
    }

    /// Copies elements of another buffer of the same type to the `first` and those after it.
    pub(super) fn copy_from(&mut self, source: &Self, range: Range<usize>, first: usize) -> ort::Result<()> {
        let on_host = |buffer: &Self| buffer.tensor.memory_info().is_cpu_accessible();
        match self.element_type() {
            TensorElementType::Float32 if on_host(self) && on_host(source) => {
                self.write::<f32>()?[first..first + range.len()].copy_from_slice(&source.read::<f32>()?[range]);
            }
            TensorElementType::Float16 if on_host(self) && on_host(source) => {
                self.write::<f16>()?[first..first + range.len()].copy_from_slice(&source.read::<f16>()?[range]);
            }
            _ => {
                let shape = [range.len()];
                source.part(range.start, &shape)?.copy_into(self.part(first, &shape)?)?;
            }
        }
        Ok(())
    }

    /// Copies elements of this buffer to the `first` and those after it; the two ranges may not overlap.
    pub(super) fn copy_within(&mut self, range: Range<usize>, first: usize) -> ort::Result<()> {
        match self.element_type() {
            TensorElementType::Float32 if self.tensor.memory_info().is_cpu_accessible() => {
                self.write::<f32>()?.copy_within(range, first);
            }
            TensorElementType::Float16 if self.tensor.memory_info().is_cpu_accessible() => {
                self.write::<f16>()?.copy_within(range, first);
            }
            _ => {
                let shape = [range.len()];
                self.part(range.start, &shape)?.copy_into(self.part(first, &shape)?)?;
            }
        }
        Ok(())
    }
}

/// Inputs and outputs of a run, bound once and run many times.
pub(super) struct Bindings {
    binding: IoBinding,
    /// What is bound by name stays allocated.
    held: BTreeMap<String, Rc<DynTensor>>,
}

/// A part of a buffer as a tensor.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) buffer: &'a Buffer,
    /// Its first element.
    pub(super) first: usize,
    pub(super) shape: &'a [usize],
}

impl Bindings {
    pub(super) fn new(session: &Session) -> ort::Result<Self> {
        Ok(Self { binding: session.create_binding()?, held: BTreeMap::new() })
    }

    /// Lets the graph read a part of a buffer. On a device that cannot reach it, what it holds now is copied.
    pub(super) fn input(&mut self, name: &str, part: Part<'_>) -> ort::Result<()> {
        self.binding.bind_input(name, &part.buffer.part(part.first, part.shape)?)?;
        self.hold(name, part.buffer);
        Ok(())
    }

    /// Gives a value away to be read.
    pub(super) fn value<T: ValueTypeMarker + ?Sized>(&mut self, name: &str, value: &Value<T>) -> ort::Result<()> {
        self.binding.bind_input(name, value)
    }

    /// Lets the graph write a part of a buffer.
    pub(super) fn output(&mut self, name: &str, part: Part<'_>) -> ort::Result<()> {
        self.binding.bind_output(name, part.buffer.part(part.first, part.shape)?)?;
        self.hold(name, part.buffer);
        Ok(())
    }

    fn hold(&mut self, name: &str, buffer: &Buffer) {
        self.held.insert(name.to_owned(), Rc::clone(&buffer.tensor));
    }

    /// Runs the graph.
    pub(super) fn run(&mut self, session: &mut Session) -> ort::Result<()> {
        session.run_binding(&self.binding).map(drop)
    }
}

/// Host memory.
pub(super) fn host() -> Rc<Allocator> {
    Rc::new(Allocator::default())
}
