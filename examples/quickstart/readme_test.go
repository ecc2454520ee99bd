// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/internal/unused"
)

// The first Go block of the README is this program, less the lines about its licence.
func TestReadmeShowsThisProgram(t *testing.T) {
	program := read(t, "main.go")
	_, program, _ = strings.Cut(program, "\n\n")

	_, rest, found := strings.Cut(read(t, "../../README.md"), "\n```go\n")
	require.True(t, found, "README.md has no go block")
	block, _, _ := strings.Cut(rest, "```\n")

	require.Equal(t, program, block, "README.md and examples/quickstart/main.go differ")
}

func TestProgramIsShort(t *testing.T) {
	require.LessOrEqual(t, strings.Count(read(t, "main.go"), "\n"), 30, "lines")
}

// Builds the program, sends a line through it and stops it with an interrupt.
func TestEchoUntilInterrupt(t *testing.T) {
	address := unused.Address("tcp")
	server := exec.Command(buildFor(t, address))
	var log bytes.Buffer
	server.Stderr = &log
	require.NoError(t, server.Start())
	defer server.Process.Kill()

	c := dial(t, address)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	const line = "the quick brown fox\n"
	_, err := io.WriteString(c, line)
	require.NoError(t, err)
	back := make([]byte, len(line))
	_, err = io.ReadFull(c, back)
	require.NoError(t, err)
	require.Equal(t, line, string(back))

	require.NoError(t, server.Process.Signal(os.Interrupt))
	_, err = c.Read(back)
	require.ErrorIs(t, err, io.EOF, "the drain closes an idle connection cleanly")
	require.NoError(t, server.Wait(), log.String())
	require.Contains(t, log.String(), "served: <nil>")
}

// buildFor builds main.go with the address of the README replaced, so that nothing else on this machine is in its way.
func buildFor(t *testing.T, address string) string {
	const fixed = `"127.0.0.1:1060"`
	dir := t.TempDir()
	source, err := filepath.Abs("main.go")
	require.NoError(t, err)
	program := read(t, source)
	require.Equal(t, 1, strings.Count(program, fixed), "main.go listens on %s", fixed)

	replaced := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(replaced, []byte(strings.Replace(program, fixed, `"`+address+`"`, 1)), 0o600))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: replaced}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))

	binary := filepath.Join(dir, "quickstart")
	out, err := exec.Command("go", "build", "-overlay", overlayFile, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// dial tries until the server, which has only just been started, accepts.
func dial(t *testing.T, address string) net.Conn {
	var c net.Conn
	require.Eventually(t, func() (ok bool) {
		var err error
		c, err = net.DialTimeout("tcp", address, time.Second)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	return c
}

func read(t *testing.T, file string) string {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}
