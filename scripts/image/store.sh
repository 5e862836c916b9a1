# shellcheck shell=bash
# Where buildah keeps its images and caches for these scripts: in .tools/image/, apart from those of the machine.
# Sourced at the top of the repository.

IMAGE_DIR=$PWD/.tools/image
mkdir -p "$IMAGE_DIR/tmp"
# The overlay driver does not work everywhere; vfs does, but copies every layer.
STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
printf '[storage]\ndriver = "%s"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$STORAGE_DRIVER" "$IMAGE_DIR" "$IMAGE_DIR" \
    >"$IMAGE_DIR/storage.conf"
export CONTAINERS_STORAGE_CONF=$IMAGE_DIR/storage.conf
unset STORAGE_DRIVER
# The caches that the Dockerfile mounts lie here, too.
export TMPDIR=$IMAGE_DIR/tmp
export BUILDAH_ISOLATION=chroot
