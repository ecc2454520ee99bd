// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process_test

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/process"
)

var built *process.Programs

func TestMain(m *testing.M) {
	servers, err := process.Named("reactor,goroutine,gnet,gnet-batch,liar")
	if err == nil {
		built, err = process.Build(context.Background(), "../..", servers)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	built.Remove()
	os.Exit(code)
}

func TestServersNamed(t *testing.T) {
	all, err := process.Named("all")
	require.NoError(t, err)
	assert.Len(t, all, len(process.Servers))
	two, err := process.Named("gnet,reactor")
	require.NoError(t, err)
	assert.Equal(t, "gnet", two[0].Name, "the first named is the first compared")
	_, err = process.Named("reactor,twisted")
	assert.EqualError(t, err, `no server is called "twisted", want all or some of `+process.Names())
	_, err = process.Named("gnet,gnet")
	assert.EqualError(t, err, `"gnet" is named twice`)
	_, err = process.Named("")
	assert.Error(t, err)
}

func TestProgramsAreOneAndKnowTheirVersions(t *testing.T) {
	require.Len(t, built.Built, 1, "one program for all servers of a module")
	assert.False(t, built.Built[0].Rivals)
	assert.Equal(t, "this repository", built.Versions["reactor"])
	assert.Equal(t, runtime.Version(), built.Versions["goroutine"])
	assert.Regexp(t, `^github.com/panjf2000/gnet/v2 v2\.`, built.Versions["gnet"])
}

func start(t *testing.T, s process.Spec) (*process.Process, error) {
	t.Helper()
	s.Loops, s.Buffer = 1, 4096
	if s.Size == 0 {
		s.Size = 16
	}
	p, err := built.Start(context.Background(), s)
	if err == nil {
		t.Cleanup(p.Stop)
	}
	return p, err
}

// Every server of this module does every service, over every network that the protocol names.
func TestServices(t *testing.T) {
	message := []byte("\x00\x00\x00\x0c0123456789ab") // 16 bytes: a frame for frames, fixed and broadcast
	for _, server := range []string{"reactor", "goroutine", "gnet"} {
		for _, s := range []process.Spec{
			{Service: "echo", Network: "tcp"}, {Service: "echo", Network: "unix"}, {Service: "echo", Network: "udp"},
			{Service: "frames", Network: "tcp"}, {Service: "fixed", Network: "tcp"}, {Service: "push", Network: "tcp"},
			{Service: "broadcast", Network: "tcp"}, {Service: "frames", Network: "unix"},
		} {
			s.Server = server
			t.Run(server+" "+s.Service+" "+s.Network, func(t *testing.T) {
				p, err := start(t, s)
				require.NoError(t, err)
				c, err := net.Dial(s.Network, p.Address)
				require.NoError(t, err)
				defer c.Close()
				_, err = c.Write(message)
				require.NoError(t, err)
				got := make([]byte, len(message))
				_, err = io.ReadFull(c, got)
				require.NoError(t, err)
				assert.Equal(t, message, got)
				_, ended := p.Ended()
				assert.False(t, ended)
			})
		}
		_, err := start(t, process.Spec{Server: server, Service: "frames", Network: "udp"})
		var unsupported *process.UnsupportedError
		require.ErrorAs(t, err, &unsupported, server)
		assert.Equal(t, "has no frames over udp", unsupported.Reason)
	}
}

func TestUsageGrows(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the accounts are Linux's")
	}
	p, err := start(t, process.Spec{Server: "reactor", Service: "echo", Network: "tcp"})
	require.NoError(t, err)
	before := p.Usage()
	c, err := net.Dial("tcp", p.Address)
	require.NoError(t, err)
	defer c.Close()
	counter := p.CountSyscalls()
	const exchanges = 100
	for b := make([]byte, 64); ; {
		for range exchanges {
			_, err = c.Write(b)
			require.NoError(t, err)
			_, err = io.ReadFull(c, b)
			require.NoError(t, err)
		}
		if after := p.Usage(); *after.CPU > *before.CPU && *after.Switches > *before.Switches && *after.RSS > 0 {
			break
		}
	}
	if _, ok := process.SyscallsHow(); ok {
		require.NotNil(t, counter)
		n := counter.Count()
		require.NotNil(t, n)
		assert.GreaterOrEqual(t, *n, int64(2*exchanges), "a read and a write each")
		counter.Close()
	}
	files, err := p.Files()
	require.NoError(t, err)
	assert.Positive(t, files)
	require.NoError(t, p.LimitFiles(files))
}

func TestAServerThatIsKilledHasEnded(t *testing.T) {
	p, err := start(t, process.Spec{Server: "goroutine", Service: "echo", Network: "tcp"})
	require.NoError(t, err)
	proc, err := os.FindProcess(p.PID)
	require.NoError(t, err)
	require.NoError(t, proc.Kill())
	p.Stop()
	how, ended := p.Ended()
	assert.True(t, ended)
	assert.Contains(t, how, "killed")
}
