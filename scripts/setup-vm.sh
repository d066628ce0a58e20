# shellcheck shell=bash
# What the vm tier needs, for scripts/setup.sh, which has `say`, `as_root`, `missing` and `enable_backports`. A machine without it has the other tiers.

vm_lib=/usr/local/lib/glovebox

install_vm() {
  local deb_arch qemu
  deb_arch=$(dpkg --print-architecture 2>/dev/null || true)
  case "$deb_arch" in
    amd64) qemu=qemu-system-x86 ;;
    arm64) qemu=qemu-system-arm ;;
    *) say "no vm tier on ${deb_arch:-a system without dpkg}"; return 0 ;;
  esac
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    vm_complete "$qemu" || say 'no vm tier: run this script once as root for it'
    return 0
  fi
  install_qemu "$qemu" || say 'no QEMU: the vm tier will not be available'
  install_guest_tools || say "not all of ${guest_tools[*]}: the vm tier will not be available"
  unpack_kernel "$deb_arch" || say "no kernel for guests: the vm tier needs one that GLOVEBOX_KERNEL names"
  install_virtiofsd "$deb_arch" || say 'no virtiofsd: the vm tier cannot share a workspace'
}

vm_complete() {
  [ -z "$(missing "$1" "${guest_tools[@]}")" ] && has_kernel && has_virtiofsd
}

# Debian 12's own QEMU (7.2) works too and starts more slowly; newer releases have a newer one.
install_qemu() {
  [ -n "$(missing "$1")" ] || return 0
  say "installing $1"
  if [ "$(codename)" = bookworm ] && enable_backports; then
    apt_install -t bookworm-backports "$1" && return 0
  fi
  apt_install "$1"
}

# erofs-utils: the guest's root. The others: kernels and modules are compressed with them, by release.
guest_tools=(erofs-utils lz4 xz-utils zstd)

install_guest_tools() {
  local wanted
  mapfile -t wanted < <(missing "${guest_tools[@]}")
  [ "${#wanted[@]}" -eq 0 ] || apt_install "${wanted[@]}"
}

# Once more with fresh lists, where they are old or not there.
apt_install() {
  apt_try "$@" 2>/dev/null || { as_root apt-get update -qq && apt_try "$@"; }
}

apt_try() {
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

codename() {
  # shellcheck disable=SC1091
  . /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}"
}

has_kernel() {
  compgen -G "$vm_lib/kernel/boot/vmlinuz-*" >/dev/null
}

# Unpacked and never installed: it is no kernel that this machine boots. Remove the directory to have the next run fetch a newer one.
unpack_kernel() {
  local name
  if [ -n "${GLOVEBOX_KERNEL:-}" ] || has_kernel; then return 0; fi
  name=$(kernel_package "$1")
  [ -n "$name" ] || { as_root apt-get update -qq; name=$(kernel_package "$1"); }
  [ -n "$name" ] || return 1
  say "unpacking $name for guests into $vm_lib/kernel"
  unpack_into kernel "$name"
}

# The package that linux-image-cloud-ARCH stands for today.
kernel_package() {
  apt-cache show --no-all-versions "linux-image-cloud-$1" 2>/dev/null |
    sed -n 's/^Depends: .*\(linux-image-[^ ,]*-cloud-'"$1"'\).*/\1/p' | head -n 1
}

# unpack_into NAME PACKAGE...: fetches packages and unpacks them into $vm_lib/NAME, whole or not at all.
unpack_into() {
  local name=$1 work
  shift
  work=$(mktemp -d)
  if ! fetch_into "$work" "$@"; then rm -rf "$work"; return 1; fi
  as_root mkdir -p "$vm_lib"
  as_root rm -rf "$vm_lib/$name"
  as_root cp -R "$work/tree" "$vm_lib/$name.new"
  as_root chmod -R u+rwX,go+rX,go-w "$vm_lib/$name.new"
  as_root mv "$vm_lib/$name.new" "$vm_lib/$name"
  rm -rf "$work"
}

fetch_into() {
  local work=$1 deb
  shift
  # apt_options: of a release that this machine is not made of.
  (cd "$work" && apt-get "${apt_options[@]}" -o APT::Sandbox::User=root download -qq "$@") >&2 || return 1
  for deb in "$work"/*.deb; do dpkg -x "$deb" "$work/tree" || return 1; done
  rm -rf "$work/tree/usr/share"
}
apt_options=()

has_virtiofsd() {
  local file
  for file in "${GLOVEBOX_VIRTIOFSD:-}" "$vm_lib/virtiofsd/virtiofsd" /usr/libexec/virtiofsd /usr/lib/virtiofsd; do
    [ -z "$file" ] || [ ! -x "$file" ] || return 0
  done
  return 1
}

# Debian 12 has no virtiofsd, nor do its backports. The one of Debian 13 is unpacked beside the C library it was made for, and checked by apt
# with the keys that this machine has; nothing of this machine's own package state is touched.
install_virtiofsd() {
  has_virtiofsd && return 0
  if [ "$(codename)" != bookworm ]; then apt_install virtiofsd; return; fi
  local state
  state=$(mktemp -d)
  say "unpacking virtiofsd of Debian 13 into $vm_lib/virtiofsd"
  if unpack_virtiofsd "$state" "$1"; then rm -rf "$state"; else rm -rf "$state"; return 1; fi
}

unpack_virtiofsd() {
  local state=$1 site
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  : > "$state/status"
  # shellcheck disable=SC2016 # apt-get fills these in
  site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' | awk '$1 == "bookworm" { print $2; exit }')
  printf '%s\n' 'Types: deb' "URIs: ${site:-http://deb.debian.org/debian}" 'Suites: trixie' 'Components: main' \
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' > "$state/trixie.sources"
  local apt_options=(-o "Dir::Etc::sourcelist=$state/trixie.sources" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$state/lists"
    -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" -o Acquire::Languages=none)
  apt-get "${apt_options[@]}" -o APT::Sandbox::User=root update -qq || return 1
  unpack_into virtiofsd.tree virtiofsd libc6 libseccomp2 libcap-ng0 libgcc-s1 || return 1
  gather_virtiofsd
}

# The program, its loader and its libraries in one directory.
gather_virtiofsd() {
  local tree=$vm_lib/virtiofsd.tree new=$vm_lib/virtiofsd.new file
  as_root rm -rf "$new" "$vm_lib/virtiofsd"
  as_root mkdir "$new"
  for file in "$tree"/usr/libexec/virtiofsd "$tree"/usr/lib*/ld-linux-*.so.* \
    "$tree"/usr/lib/*/{ld-linux-*.so.*,libc.so.6,libm.so.6,libseccomp.so.2,libcap-ng.so.0,libgcc_s.so.1}; do
    [ ! -e "$file" ] || as_root cp -L "$file" "$new/"
  done
  as_root chmod -R u+rwX,go+rX,go-w "$new"
  as_root rm -rf "$tree"
  # One that does not start is as good as none.
  "$new"/ld-linux-*.so.* --library-path "$new" "$new/virtiofsd" --version >/dev/null || return 1
  as_root mv "$new" "$vm_lib/virtiofsd"
}
