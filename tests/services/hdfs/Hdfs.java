import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/**
 * A name node and a data node of HDFS, in the folder of the first argument, until it is killed. Prints where WebHDFS is.
 *
 * It begins with 5,000 empty files, which would take minutes to make over WebHDFS: /many/0/0000.csv to /many/1/4999.csv.
 */
public class Hdfs {
    public static void main(String[] arguments) throws Exception {
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(new Configuration(), new File(arguments[0])).build();
        cluster.waitActive();
        FileSystem files = cluster.getFileSystem();
        for (int number = 0; number < 5000; number++) {
            files.create(new Path(String.format("/many/%d/%04d.csv", number / 2500, number))).close();
        }
        System.out.println("WebHDFS: " + cluster.getHttpUri(0));
        Thread.currentThread().join();
    }
}
