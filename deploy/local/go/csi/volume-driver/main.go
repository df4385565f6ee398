// volume-driver is the CSI driver of the local stack. A volume is an ext4 file system in a sparse file of the size that
// was asked for, so that a full volume is full; a snapshot is a copy of that file. It serves one node, which is the
// machine it runs on, and announces itself to that node's kubelet.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const (
	driverName  = "volumes.mesh.odoo"
	defaultSize = int64(1) << 30
	smallest    = int64(16) << 20
)

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	node string
	data string
	// One request at a time: a volume is never made, copied and mounted at once.
	mutex sync.Mutex
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "1"}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	controller := &csi.PluginCapability{Type: &csi.PluginCapability_Service_{
		Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{controller}}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}}})
	}
	return response, nil
}

func (d *driver) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	file, err := d.volumeFile(request.GetName())
	if err != nil {
		return nil, err
	}
	size := request.GetCapacityRange().GetRequiredBytes()
	if size == 0 {
		size = defaultSize
	}
	size = max(size, smallest)
	if limit := request.GetCapacityRange().GetLimitBytes(); limit > 0 && size > limit {
		return nil, status.Errorf(codes.OutOfRange, "the smallest volume has %d bytes", size)
	}

	if there, err := os.Stat(file); err == nil {
		if there.Size() < size {
			return nil, status.Errorf(codes.AlreadyExists, "%s has %d bytes", request.GetName(), there.Size())
		}
		size = there.Size()
	} else if size, err = d.makeVolume(file, size, request.GetVolumeContentSource()); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: request.GetName(), CapacityBytes: size, ContentSource: request.GetVolumeContentSource()}}, nil
}

// The file appears under its name only when it is complete.
func (d *driver) makeVolume(file string, size int64, source *csi.VolumeContentSource) (int64, error) {
	unfinished := file + ".unfinished"
	os.Remove(unfinished)
	from, err := d.sourceFile(source)
	if err != nil {
		return 0, err
	}
	if from == "" {
		if err := os.WriteFile(unfinished, nil, 0o600); err != nil {
			return 0, err
		}
		if err := os.Truncate(unfinished, size); err != nil {
			return 0, err
		}
		// No reserved blocks: what was asked for is what there is to write.
		if err := command("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", unfinished); err != nil {
			return 0, err
		}
	} else {
		if err := copyFile(from, unfinished); err != nil {
			return 0, err
		}
		there, err := os.Stat(unfinished)
		if err != nil {
			return 0, err
		}
		if there.Size() >= size {
			size = there.Size()
		} else if err := grow(unfinished, size); err != nil {
			return 0, err
		}
	}
	return size, os.Rename(unfinished, file)
}

func grow(file string, size int64) error {
	if err := os.Truncate(file, size); err != nil {
		return err
	}
	// 1: mended, which is what a copy of a mounted file system needs.
	if err := command("e2fsck", "-f", "-p", file); err != nil && !strings.Contains(err.Error(), "exit status 1:") {
		return err
	}
	return command("resize2fs", file)
}

func (d *driver) sourceFile(source *csi.VolumeContentSource) (string, error) {
	var file string
	var err error
	switch {
	case source.GetSnapshot() != nil:
		file, err = d.snapshotFile(source.GetSnapshot().GetSnapshotId())
	case source.GetVolume() != nil:
		file, err = d.volumeFile(source.GetVolume().GetVolumeId())
	default:
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err != nil {
		return "", status.Errorf(codes.NotFound, "there is no %s", filepath.Base(file))
	}
	return file, nil
}

func (d *driver) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	file, err := d.volumeFile(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, remove(file)
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()}}, nil
}

func (d *driver) CreateSnapshot(_ context.Context, request *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	file, err := d.snapshotFile(request.GetName())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil {
		source, err := d.volumeFile(request.GetSourceVolumeId())
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(source); err != nil {
			return nil, status.Errorf(codes.NotFound, "there is no volume %s", request.GetSourceVolumeId())
		}
		if err := snapshot(source, file); err != nil {
			return nil, err
		}
	}
	there, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId: request.GetName(), SourceVolumeId: request.GetSourceVolumeId(), SizeBytes: there.Size(),
		CreationTime: timestamppb.New(there.ModTime()), ReadyToUse: true}}, nil
}

// A mounted file system is held still meanwhile, so that the copy is of one moment.
func snapshot(volume, file string) error {
	mounts, err := mountsOf(volume)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		if err := command("fsfreeze", "--freeze", mounts[0]); err != nil {
			return err
		}
		defer command("fsfreeze", "--unfreeze", mounts[0])
	}
	unfinished := file + ".unfinished"
	if err := copyFile(volume, unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, file)
}

func (d *driver) DeleteSnapshot(_ context.Context, request *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	file, err := d.snapshotFile(request.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	return &csi.DeleteSnapshotResponse{}, remove(file)
}

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

func (d *driver) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	file, err := d.volumeFile(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	target := request.GetTargetPath()
	if mounted(target) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if _, err := os.Stat(file); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s", request.GetVolumeId())
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	// Two file systems on one file would ruin it: who comes second gets the first one's.
	mounts, err := mountsOf(file)
	if err != nil {
		return nil, err
	}
	source, options := file, "loop"
	if len(mounts) > 0 {
		source, options = mounts[0], "bind"
	}
	if request.GetReadonly() {
		options += ",ro"
	}
	return &csi.NodePublishVolumeResponse{}, command("mount", "-o", options, source, target)
}

func (d *driver) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	target := request.GetTargetPath()
	if mounted(target) {
		if err := command("umount", target); err != nil {
			return nil, err
		}
	}
	return &csi.NodeUnpublishVolumeResponse{}, remove(target)
}

func (d *driver) volumeFile(id string) (string, error)   { return d.fileOf("volumes", id) }
func (d *driver) snapshotFile(id string) (string, error) { return d.fileOf("snapshots", id) }

func (d *driver) fileOf(kind, id string) (string, error) {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return "", status.Errorf(codes.InvalidArgument, "not a name for one of the %s: %q", kind, id)
	}
	return filepath.Join(d.data, kind, id), nil
}

func mounted(target string) bool {
	for _, line := range mountLines() {
		if line[4] == target {
			return true
		}
	}
	return false
}

// Where the file system in this file is mounted.
func mountsOf(file string) ([]string, error) {
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for _, device := range devices {
		backing, err := os.ReadFile(device)
		if err != nil || strings.TrimSpace(string(backing)) != file {
			continue
		}
		number, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(device)), "dev"))
		if err != nil {
			continue
		}
		for _, line := range mountLines() {
			if line[2] == strings.TrimSpace(string(number)) {
				mounts = append(mounts, line[4])
			}
		}
	}
	return mounts, nil
}

// proc(5), mountinfo: the third field is the device's number, the fifth the place.
func mountLines() [][]string {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		log.Fatal(err)
	}
	var lines [][]string
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			lines = append(lines, fields)
		}
	}
	return lines
}

func copyFile(from, to string) error {
	return command("cp", "--sparse=always", "--reflink=auto", from, to)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func command(name string, arguments ...string) error {
	output, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return status.Errorf(codes.Internal, "%s %s: %v: %s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}

type registrar struct {
	registration.UnsafeRegistrationServer
	endpoint string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: driverName, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, told *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	log.Println("registered with the kubelet:", strconv.FormatBool(told.PluginRegistered), told.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

func serve(socket string, register func(*grpc.Server)) {
	os.Remove(socket)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logged))
	register(server)
	log.Fatal(server.Serve(listener))
}

func logged(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, request)
	if err != nil {
		log.Println(info.FullMethod, err)
	}
	return answer, err
}

func main() {
	socket := flag.String("socket", "", "where the driver listens")
	registrationSocket := flag.String("registration-socket", "", "where the kubelet looks for drivers")
	data := flag.String("data", "", "the folder of volumes and snapshots")
	node := flag.String("node", "", "the name of this node")
	flag.Parse()
	for _, kind := range []string{"volumes", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(*data, kind), 0o700); err != nil {
			log.Fatal(err)
		}
	}
	go serve(*registrationSocket, func(server *grpc.Server) {
		registration.RegisterRegistrationServer(server, registrar{endpoint: *socket})
	})
	fmt.Println("serving", *socket)
	d := &driver{node: *node, data: *data}
	serve(*socket, func(server *grpc.Server) {
		csi.RegisterIdentityServer(server, d)
		csi.RegisterControllerServer(server, d)
		csi.RegisterNodeServer(server, d)
	})
}
