# Prints what a device is, or the state it is in: its own files and its tools' answers, unchanged.
#
#     sh -c SCRIPT probe description
#     sh -c SCRIPT probe state FILE...
#
# Reads only. Runs in any POSIX shell: dash, bash, busybox, Android's mksh with toybox. Every part
# is optional on a device, so nothing here is an error. See probe_parsing.py for the form.
exec </dev/null 2>/dev/null
export LC_ALL=C
PATH=$PATH:/opt/vc/bin # vcgencmd's place in older systems of the Raspberry Pi

mark() {
    echo
    echo "==edgefer== $1"
}

files() {
    for path do
        if [ -r "$path" ]; then
            mark "$path"
            cat "$path"
        fi
    done
}

answer() {
    command -v "$1" >/dev/null || return 1
    mark "$*"
    "$@"
}

device_tree() {
    for path do
        if [ -r "$path" ]; then
            mark "$path"
            tr '\000' '\n' <"$path"
        fi
    done
}

elf_header() {
    mark "elf header of $1"
    od -An -tx1 -N20 "$2"
}

description() {
    answer uname -s -r -m
    answer getconf LONG_BIT
    answer getconf _NPROCESSORS_ONLN
    cpus=/sys/devices/system/cpu
    files /proc/cpuinfo /proc/meminfo /proc/sys/kernel/arch /etc/os-release $cpus/online \
        $cpus/cpu[0-9]*/cpu_capacity $cpus/cpu[0-9]*/cpufreq/related_cpus \
        $cpus/cpu[0-9]*/cpufreq/cpuinfo_max_freq /sys/class/dmi/id/sys_vendor \
        /sys/class/dmi/id/product_name /sys/class/ptp/ptp*/clock_name \
        /sys/devices/system/clocksource/clocksource0/available_clocksource
    device_tree /proc/device-tree/model /proc/device-tree/compatible
    elf_header sh /bin/sh
    # An emulator shows a process its own program as /proc/self/exe. This shell's, read by
    # another process, is what really runs.
    elf_header this "/proc/$$/exe"
    mark "program of this"
    readlink "/proc/$$/exe"
    command -v getprop >/dev/null && android
}

android() {
    mark getprop
    for name in ro.product.manufacturer ro.product.model ro.soc.manufacturer ro.soc.model \
        ro.board.platform ro.hardware ro.build.version.release ro.kernel.qemu ro.boot.qemu; do
        echo "$name=$(getprop $name)"
    done
}

state() {
    files "$@" /proc/loadavg /sys/class/thermal/thermal_zone*/type \
        /sys/class/thermal/thermal_zone*/temp /sys/class/power_supply/*/type \
        /sys/class/power_supply/*/scope /sys/class/power_supply/*/status \
        /sys/class/power_supply/*/capacity
    answer vcgencmd get_throttled || files /sys/devices/platform/soc/soc:firmware/get_throttled
    answer vcgencmd measure_clock arm
    answer dumpsys battery
    answer dumpsys thermalservice
}

mark begin
"$@"
mark end
