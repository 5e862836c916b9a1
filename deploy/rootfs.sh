#!/bin/sh
# Puts the files of the image together: the program with the libraries that it needs, a shell with the usual tools, CA
# certificates. Runs in the build stage of the Dockerfile, on any architecture.
#
#   rootfs.sh PROGRAM ROOT
set -eu

readonly PROGRAM="$1"
readonly ROOT="$2"

mkdir -p "$ROOT/bin" "$ROOT/etc/ssl/certs" "$ROOT/milvus/bin" "$ROOT/milvus/configs" "$ROOT/milvus/data" "$ROOT/tmp"
chmod 1777 "$ROOT/tmp"
install -m 755 "$PROGRAM" "$ROOT/milvus/bin/meta-migration"

# ldd prints "name => /path (address)" and, for the loader, "/path (address)".
ldd "$PROGRAM" | sed -n 's/.*\(=> \|\t\)\(\/[^ ]*\) (.*/\2/p' | while read -r library; do
    mkdir -p "$ROOT$(dirname "$library")"
    cp -L "$library" "$ROOT$library"
done

# A shell for `/bin/sh -c`, which becomes the program that it is to start, so that signals reach it.
install -m 755 /bin/busybox "$ROOT/bin/busybox"
for applet in $("$ROOT/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$ROOT/bin/$applet"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
cp -L /etc/os-release "$ROOT/etc/"
echo 'hosts: files dns' >"$ROOT/etc/nsswitch.conf"
printf '%s\n' root:x:0:0:root:/:/bin/sh nonroot:x:65532:65532:nonroot:/:/bin/sh >"$ROOT/etc/passwd"
printf '%s\n' root:x:0: nonroot:x:65532: >"$ROOT/etc/group"

# Under which licences all of it is: ours, those of the libraries in the program, those of the Debian packages.
mkdir -p "$ROOT/licenses"
cp LICENSE THIRD-PARTY-NOTICES.txt "$ROOT/licenses/"
cp -L /usr/share/common-licenses/GPL-2 /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/LGPL-2.1 "$ROOT/licenses/"

# Scanners know the Debian packages that files came from by these.
mkdir -p "$ROOT/var/lib/dpkg/status.d"
for package in busybox-static ca-certificates libc6 libgcc-s1; do
    dpkg -s "$package" >"$ROOT/var/lib/dpkg/status.d/$package"
    cp -L "/usr/share/doc/$package/copyright" "$ROOT/licenses/$package"
done
