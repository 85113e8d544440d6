//! Readings of foreign clients: another partitioner, JSON, garbage.
