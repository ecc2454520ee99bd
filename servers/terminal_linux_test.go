// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal returns both ends of a pseudo-terminal of 80 columns and 24 rows, see pty(7).
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close() })
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	return master, slave
}

// On a terminal top writes over itself, within its columns, until it is interrupted.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	_, url := observed(t, "echo")
	master, slave := terminal(t)
	cmd := exec.Command(binaries.program, "top", url, "-interval", "50ms")
	cmd.Stdout, cmd.Stderr = slave, slave
	require.NoError(t, cmd.Start())
	slave.Close()
	shown := new(buffer)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(shown, master) // EIO when nobody has the other end any more
	}()
	eventually(t, func() bool { return strings.Count(shown.String(), "\x1b[H") > 2 }, "it is refreshed")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
	<-copied
	for line := range strings.SplitSeq(shown.String(), "\n") {
		line = strings.NewReplacer("\x1b[H", "", "\x1b[K", "", "\x1b[J", "", "\r", "").Replace(line)
		require.LessOrEqual(t, len(line), 80)
		require.NotContains(t, line, "\x1b")
	}
	require.Contains(t, shown.String(), "LOOP   BUSY")
}
