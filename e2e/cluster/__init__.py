"""Milvus as a cluster on one machine: etcd, Kafka, MinIO, and a process for each component."""
