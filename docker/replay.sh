#!/usr/bin/env bash
# Replay the Dockerfile's steps for the CPU target in a clean Debian root, where no Docker engine is at hand:
#   sudo docker/replay.sh EMPTY_FOLDER
# Needs debootstrap. A pip configuration of this machine (/etc/pip.conf, PIP_* variables) is passed into the root;
# folders that it names can be bound with BIND="/a /b".
set -euo pipefail
root=$(realpath -m "${1:?usage: docker/replay.sh EMPTY_FOLDER}")
here=$(realpath "$(dirname "$(readlink -f "$0")")/..")
[[ ! -e $root || -z $(ls -A "$root") ]] || { echo "error: $root is not empty." >&2; exit 2; }
debootstrap --variant=minbase bookworm "$root"
cleanup() { for place in "${mounted[@]}"; do umount "$place"; done; }
mounted=()
trap cleanup EXIT
for place in /proc /dev ${BIND:-}; do
    mkdir -p "$root$place"
    mount --bind "$place" "$root$place"
    mounted=("$root$place" "${mounted[@]}")
done
cp /etc/resolv.conf "$root/etc/resolv.conf"
if compgen -G '/usr/local/share/ca-certificates/*' >/dev/null; then  # authorities that this machine trusts
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/* "$root/usr/local/share/ca-certificates/"
fi
[[ -f /etc/pip.conf ]] && cp /etc/pip.conf "$root/etc/pip.conf"

user=root folder=/ variables=()
run() {  # run a step as the current user in the current folder
    echo "--- $user: $1"
    chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${passed[@]}" "${variables[@]}" \
        su -m "$user" -s /bin/bash -c "export HOME=$([[ $user == root ]] && echo /root || echo "/home/$user"); cd $folder && $1"
}
mapfile -t passed < <(env | grep '^PIP_' || true)
# join continued lines; keep what follows the common stage's FROM
steps=$(sed -e ':a' -e '/\\$/N; s/ *\\\n */ /; ta' "$here/docker/Dockerfile" | sed -n '/^FROM base-\$/,$p')
while IFS= read -r step; do
    case $step in
        'RUN '*) run "${step#RUN }" ;;
        'USER '*) user=${step#USER } ;;
        'WORKDIR '*) folder=${step#WORKDIR }; mkdir -p "$root$folder" ;;
        'ENV '*) read -r -a pairs <<< "${step#ENV }"
                 for pair in "${pairs[@]}"; do variables+=("${pair/\$PATH//usr/bin:/bin}"); done ;;
        'ARG '*) argument=${step#ARG }; variables+=("${argument%%=*}=${argument#*=}") ;;
        'COPY '*) git -C "$here" archive HEAD | chroot "$root" tar -x -C "$folder"
                  chroot "$root" chown -R "$user" "$folder" ;;
        'HEALTHCHECK '*) check=$(sed 's/.*CMD \[\(.*\)\]/\1/; s/"//g; s/,//g' <<< "$step"); run "$check" ;;
    esac
done <<< "$steps"
echo "all steps of the Dockerfile ran in $root"
