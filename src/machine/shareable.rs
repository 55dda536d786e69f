//! State that a snapshot may share: a capture takes a pointer, and the first write after it copies.
//!
//! While nobody shares it, it is a plain value: the hot path pays a branch and no atomic operation (an `Arc` of its own
//! would cost each sample one, about 5 % of an append). That is why lending needs `&mut`.

use std::ops::Deref;
use std::sync::Arc;

/// A value, owned or shared with captures.
#[derive(Debug, Clone)]
pub enum Shareable<T> {
    /// Nobody else sees it.
    Owned(T),
    /// A capture may see it still.
    Shared(Arc<T>),
}

impl<T: Clone + Default> Shareable<T> {
    /// Another hold of the same value, as it is now. Takes one small allocation, whatever the value's size.
    pub fn lend(&mut self) -> Self {
        let shared = match std::mem::take(self) {
            Self::Owned(value) => Arc::new(value),
            Self::Shared(shared) => shared,
        };
        *self = Self::Shared(Arc::clone(&shared));
        Self::Shared(shared)
    }

    /// The value, to be changed. Copies it if a capture shares it still, and takes it back if none does any more.
    pub fn to_mut(&mut self) -> &mut T {
        if let Self::Shared(_) = self {
            *self = Self::Owned(std::mem::take(self).into_inner());
        }
        match self {
            Self::Owned(value) => value,
            Self::Shared(_) => unreachable!("it has just been taken back"),
        }
    }

    /// The value itself: copied if it is shared still.
    pub fn into_inner(self) -> T {
        match self {
            Self::Owned(value) => value,
            Self::Shared(shared) => Arc::unwrap_or_clone(shared),
        }
    }
}

impl<T: Default> Default for Shareable<T> {
    fn default() -> Self {
        Self::Owned(T::default())
    }
}

impl<T> From<T> for Shareable<T> {
    fn from(value: T) -> Self {
        Self::Owned(value)
    }
}

impl<T> Deref for Shareable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Owned(value) => value,
            Self::Shared(shared) => shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_copies_what_is_lent_and_takes_back_what_is_lent_no_more() {
        let mut value = Shareable::from(vec![1, 2, 3]);
        let place = value.as_ptr();
        let lent = value.lend();
        assert_eq!(lent.as_ptr(), place, "lending copies nothing");
        value.to_mut().push(4);
        assert_eq!((&*lent, &*value), (&vec![1, 2, 3], &vec![1, 2, 3, 4]));
        let place = value.as_ptr();
        drop(value.lend());
        value.to_mut()[0] = 9;
        assert_eq!(value.as_ptr(), place, "nobody held it any more: nothing is copied");
        assert_eq!(value.lend().into_inner(), [9, 2, 3, 4]);
    }
}
