package bench

import (
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// pinning says which processors the server and the generator get. Where nothing is asked for, the server gets the first and
// the generator the others, if there are two and taskset is there.
func pinning(o VideoOptions) (server, own string, err error) {
	_, err = exec.LookPath("taskset")
	there := err == nil
	switch {
	case o.ServerCPUs != "" || o.GeneratorCPUs != "":
		if !there {
			return "", "", fmt.Errorf("taskset is not installed, so nothing can be bound to processors: %w", err)
		}
		return o.ServerCPUs, o.GeneratorCPUs, nil
	case !there || runtime.NumCPU() < 2:
		return "", "", nil
	}
	return "0", strings.TrimSuffix("1-"+strconv.Itoa(runtime.NumCPU()-1), "-1"), nil
}

// pin binds a process with all of its threads to processors; those that it makes later inherit it.
func (v *videoRun) pin(pid int, cpus string) error {
	if cpus == "" || pid == 0 {
		return nil
	}
	if out, err := exec.Command("taskset", "-a", "-p", "-c", cpus, strconv.Itoa(pid)).CombinedOutput(); err != nil {
		return fmt.Errorf("binding process %d to the processors %s: %w: %s", pid, cpus, err, out)
	}
	return nil
}
