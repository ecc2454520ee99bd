// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build soak

package reactor_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Fifteen thousand idle connections cost no more wake-ups than a few. Their clients are another process, for descriptors.
func TestSoakIdleTimeoutsRarelyWake(t *testing.T) {
	const marker, conns, control = "QUARTET_SPEAKERS", 15_000, 3
	if path := os.Getenv(marker); path != "" {
		speak := newSpeakers(t, &net.UnixAddr{Name: path, Net: "unix"})
		pipe := os.NewFile(control, "control")
		for i := uint32(0); binary.Read(pipe, binary.LittleEndian, &i) == nil; {
			speak(int(i))
			require.NoError(t, binary.Write(pipe, binary.LittleEndian, i))
		}
		return
	}
	rarelyWakes(t, conns, func(t *testing.T, a net.Addr) func(i int) {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
		own, its := os.NewFile(uintptr(ends[0]), "control"), os.NewFile(uintptr(ends[1]), "control")
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), marker+"="+a.String())
		child.ExtraFiles = []*os.File{its}
		var out bytes.Buffer
		child.Stdout, child.Stderr = &out, &out
		require.NoError(t, child.Start())
		require.NoError(t, its.Close())
		t.Cleanup(func() {
			require.NoError(t, own.Close())
			require.NoError(t, child.Wait(), &out)
		})
		return func(i int) {
			said := uint32(i)
			require.NoError(t, binary.Write(own, binary.LittleEndian, said))
			require.NoError(t, binary.Read(own, binary.LittleEndian, &said))
		}
	})
}
