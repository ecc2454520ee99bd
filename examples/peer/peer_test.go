// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quartet-go/quartet/examples/internal/program"
	"github.com/quartet-go/quartet/internal/unused"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// Five processes, started one after the other, all hear each other in both ways.
func TestMesh(t *testing.T) {
	const n = 5
	binary := program.Build(t, ".")
	dir, err := os.MkdirTemp("", "peer") // t.TempDir's paths are too long for a socket's
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var paths []string
	for i := range n {
		paths = append(paths, filepath.Join(dir, fmt.Sprint(i)))
	}
	for network, addresses := range map[string][]string{"tcp": freeAddresses(n), "unix": paths} {
		t.Run(network, func(t *testing.T) {
			var peers []*exec.Cmd
			for i, own := range addresses {
				others := slices.Delete(slices.Clone(addresses), i, i+1)
				p := exec.Command(binary, append([]string{"-listen", own, "-loops", fmt.Sprint(1 + i%2)}, others...)...)
				p.Stdout, p.Stderr = new(bytes.Buffer), new(bytes.Buffer)
				require.NoError(t, p.Start())
				t.Cleanup(func() { _ = p.Process.Kill() })
				peers = append(peers, p)
			}
			for i, p := range peers {
				require.NoError(t, p.Wait(), p.Stderr)
				said := fmt.Sprint(p.Stdout)
				require.Len(t, strings.Split(strings.TrimSpace(said), "\n"), n-1, said)
				for j, other := range addresses {
					if j != i {
						require.Regexp(t, `(?m)^`+regexp.QuoteMeta(other)+` greeted and answered, \d+ dials$`, said)
					}
				}
			}
		})
	}
}

// Who is missing is told.
func TestMissingPeer(t *testing.T) {
	addresses := freeAddresses(2)
	p := exec.Command(program.Build(t, "."), "-listen", addresses[0], "-timeout", "200ms", addresses[1])
	out, err := p.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), addresses[1]+": greeted us false, answered false, dials ")
}

// freeAddresses returns n addresses where nobody listens.
func freeAddresses(n int) (addresses []string) {
	for len(addresses) < n {
		if address := unused.Address("tcp"); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}
